"""Credentials on the lines that a diff shows because a URL in them changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress.report.diff import body_diff
from kubectl_egress.report.masking import line_shown
from tests.build import deployment

URL = "https://httpbin.org/get"
NOTHING = [
    f"+ value: {URL}\n",
    f"+ curl -s -H 'Accept: application/json' {URL}\n",
    f'+ curl -s -H "Authorization: Bearer $TOKEN" {URL}\n',
    f'+ curl -u "$USER:$PASSWORD" {URL}\n',
    f"+ TOKEN=$(cat /run/token) curl {URL}\n",
    f'+ TOKEN_URL={URL} API_SECRET="${{SECRET}}"\n',
    f"+ token: {URL}\n",
    f"- callback_token: {URL}?access_token=***\n",
    f"+ --author me -user x --max-time 5 {URL}\n",
    "+         privateKey: /etc/kubectl-egress/httpbin.org/tls.key\n",
    "+         caCertificates: system\n",
    "+ secretName: shop\n",
    '+ {"v": {"secret": {"secretName": "shop"}}}\n',
    "+   authorization:\n",
    "  - name: API_TOKEN\n",
]
MASKED = [
    (f"+ curl -H 'Authorization: Bearer hunter2' {URL}\n", f"+ curl -H 'Authorization: ***' {URL}\n"),
    (f'+ curl -H \\"Cookie: a=hunter2; b=hunter2\\" {URL}\n', f'+ curl -H \\"Cookie: ***\\" {URL}\n'),
    (f"+ curl -HX-Api-Key:hunter2 {URL}\n", f"+ curl -HX-Api-Key:*** {URL}\n"),
    (f"+ curl -H Authorization:\\ Basic\\ hunter2 {URL}\n", f"+ curl -H Authorization:\\ *** {URL}\n"),
    (f"+ curl -u joe:hunter2 {URL}\n", f"+ curl -u *** {URL}\n"),
    (f"+ curl --user='joe:hunter2' {URL}\n", f"+ curl --user='***' {URL}\n"),
    (f'+ command: ["curl", "-u", "joe:hunter2", "{URL}"]\n', f'+ command: ["curl", "-u", "***", "{URL}"]\n'),
    (f'+ args: ["--api-token", "hunter2", "{URL}"]\n', f'+ args: ["--api-token", "***", "{URL}"]\n'),
    (f"+ export DB_PASSWORD='hunter2 hunter2'; curl {URL}\n", f"+ export DB_PASSWORD='***'; curl {URL}\n"),
    (f"+ GITHUB_TOKEN=hunter2 curl {URL}\n", f"+ GITHUB_TOKEN=*** curl {URL}\n"),
    (f"+ run --token hunter2 --secret=hunter2 {URL}\n", f"+ run --token *** --secret=*** {URL}\n"),
    (f'+ x: \'{{"apiKey": "hunter2", "url": "{URL}"}}\'\n', f'+ x: \'{{"apiKey": "***", "url": "{URL}"}}\'\n'),
    (f"+ {{password: hunter2, url: {URL}}}\n", f"+ {{password: ***, url: {URL}}}\n"),
]


@pytest.mark.parametrize("line", NOTHING)
def test_what_is_no_credential_stays(line: str) -> None:
    assert line_shown(line) == line


@pytest.mark.parametrize(("line", "masked"), MASKED)
def test_credentials_beside_a_url(line: str, masked: str) -> None:
    assert line_shown(line) == masked
    assert line_shown(masked) == masked


@given(st.text(st.sampled_from("token:= '\"\\-u$hunter2,{};&?/x\n"), max_size=40))
def test_any_line_can_be_shown_and_shown_again(text: str) -> None:
    assert line_shown(line_shown(text)) == line_shown(text)


def test_a_plan_s_diff_has_none_of_them() -> None:
    script = f"curl -H 'Authorization: Bearer hunter2' -u joe:hunter2 {URL}\n"
    before, after = (
        deployment("shop", command=["sh", "-c", text]) for text in (script, script.replace("https", "http"))
    )
    diff = body_diff(before, after)
    assert "http://httpbin.org/get" in diff
    assert "hunter2" not in diff
