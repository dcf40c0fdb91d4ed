from __future__ import annotations

from typing import Any

import pytest

from kubectl_egress.report.diff import body_diff, text_diff

SCRIPT = "while true; do\n  curl -s https://httpbin.org/status/200\n  sleep .2\ndone\n"


def deployment(**spec: Any) -> dict[str, Any]:
    container = {
        "name": "shop",
        "env": [
            {"name": "DB_PASSWORD", "value": "hunter2"},
            {"name": "API_URL", "value": "https://httpbin.org/anything"},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": "test", "resourceVersion": "7", "uid": "u", "managedFields": [{}]},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container], **spec}}},
        "status": {"replicas": 1},
    }


def with_env(body: dict[str, Any], value: str) -> dict[str, Any]:
    container = body["spec"]["template"]["spec"]["containers"][0]
    env = [container["env"][0], {"name": "API_URL", "value": value}]
    spec = {**body["spec"]["template"]["spec"], "containers": [{**container, "env": env}]}
    return {**body, "spec": {**body["spec"], "template": {"spec": spec}}}


def test_the_same_object_has_no_diff() -> None:
    assert body_diff(deployment(), deployment()) == ""


def test_what_the_server_keeps_for_itself_is_no_difference() -> None:
    after = {**deployment(), "status": {"replicas": 2}}
    after["metadata"] = {"name": "shop", "namespace": "test", "resourceVersion": "8", "generation": 3}
    assert body_diff(deployment(), after) == ""


def test_neither_here_nor_there_is_no_diff() -> None:
    assert body_diff(None, None) == ""


def test_only_what_changes_is_shown_under_the_names_that_lead_to_it() -> None:
    after = with_env(deployment(hostAliases=[{"ip": "192.0.2.1", "hostnames": ["httpbin.org"]}]), "http://httpbin.org")
    assert body_diff(deployment(), after) == (
        "  spec:\n"
        "    template:\n"
        "      spec:\n"
        "        containers:\n"
        "        - name: shop\n"
        "          env:\n"
        "          - name: API_URL\n"
        "-           value: https://httpbin.org/anything\n"
        "+           value: http://httpbin.org\n"
        "+       hostAliases:\n"
        "+       - ip: 192.0.2.1\n"
        "+         hostnames:\n"
        "+         - httpbin.org\n"
    )


def test_of_a_script_only_the_changed_line_is_shown() -> None:
    before, after = {"args": ["-c", SCRIPT]}, {"args": ["-c", SCRIPT.replace("https", "http")]}
    assert body_diff(before, after) == (
        "  args:\n"
        "  - |\n"
        "-     curl -s https://httpbin.org/status/200\n"
        "+     curl -s http://httpbin.org/status/200\n"
    )  # fmt: skip


def test_items_of_a_list_are_paired_by_name_wherever_they_stand() -> None:
    before = {"ports": [{"name": "a", "number": 1}, {"name": "b", "number": 2}]}
    after = {"ports": [{"name": "b", "number": 3}, {"name": "a", "number": 1}]}
    assert body_diff(before, after) == "  ports:\n  - name: b\n-   number: 2\n+   number: 3\n"


def test_a_reference_to_a_config_map_changes_in_its_place() -> None:
    before, after = ({"envFrom": [{"configMapRef": {"name": name}}]} for name in ("app", "app-1a2b"))
    assert body_diff(before, after) == (
        "  envFrom:\n"
        "  -\n"
        "    configMapRef:\n"
        "-     name: app\n"
        "+     name: app-1a2b\n"
    )  # fmt: skip


def test_a_new_object_is_shown_whole_and_a_deleted_one_too() -> None:
    rule = {"kind": "DestinationRule", "metadata": {"name": "x"}, "spec": {"host": "httpbin.org"}}
    assert (
        body_diff(None, rule) == "+ kind: DestinationRule\n+ metadata:\n+   name: x\n+ spec:\n+   host: httpbin.org\n"
    )
    assert body_diff(rule, None) == body_diff(None, rule).replace("+ ", "- ")


def test_a_new_config_map_shows_sizes_and_not_values() -> None:
    text = body_diff(None, {"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"app.properties": "password=y"}})
    assert "password" not in text
    assert "app.properties: <10 bytes>" in text


def test_a_secret_never_shows_its_values() -> None:
    one, two = (
        {"kind": "Secret", "metadata": {"name": "x"}, "data": {"a": value}} for value in ("aHVudGVyMg==", "eA==")
    )
    assert body_diff(one, two) == "  data:\n-   a: '*** (before)'\n+   a: '*** (after)'\n"
    assert body_diff(one, one) == ""
    for text in (body_diff(None, one), body_diff(one, None)):
        assert "aHVudGVyMg" not in text
        assert "a: '***'" in text


def test_credentials_in_a_url_are_masked() -> None:
    text = body_diff({"env": "https://bob:pw@a.io/?token=t"}, {"env": "http://bob:pw@a.io/?token=t"})
    assert text == "- env: https://***@a.io/?token=***\n+ env: http://***@a.io/?token=***\n"


@pytest.mark.parametrize("text", ["", "a: 1\n", "a: 1"])
def test_the_same_text_has_no_diff(text: str) -> None:
    assert text_diff(text, text, "a.yaml") == ""


BEFORE = """\
env:
- name: DB_PASSWORD
  value: hunter2
- name: API_URL
  value: https://httpbin.org
- name: TOKEN
  value: "s3cret" # comment
script: |-
  password=x
"""


def test_a_file_shows_its_changed_lines_and_no_neighbours_value() -> None:
    assert text_diff(BEFORE, BEFORE.replace("https:", "http:"), "deploy/shop.yaml") == (
        "--- a/deploy/shop.yaml\n"
        "+++ b/deploy/shop.yaml\n"
        "@@ -2,7 +2,7 @@\n"
        " - name: DB_PASSWORD\n"
        "   ***\n"
        " - name: API_URL\n"
        "-  value: https://httpbin.org\n"
        "+  value: http://httpbin.org\n"
        " - name: TOKEN\n"
        "   ***\n"
        " script: |-\n"
    )


def test_a_new_file_and_a_file_without_a_final_line_end() -> None:
    assert text_diff(None, "a: 1", "x.yaml") == (
        "--- /dev/null\n+++ b/x.yaml\n@@ -0,0 +1 @@\n+a: 1\n\\ No newline at end of file\n"
    )
