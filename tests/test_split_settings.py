"""Calls that several settings say together; what says none first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kubectl_egress.model import Body, Edit, Host, Ref, Steps
from kubectl_egress.paths import get, replaced
from kubectl_egress.scan import is_aside, scan
from kubectl_egress.scan.files import settings_in
from kubectl_egress.scan.settings import split_calls
from kubectl_egress.urls import apply_edits
from tests.build import config_map, config_maps, container, deployment, document

HOST = "api.example.com"
FILE = Ref("ConfigMap", "n", "f")

NOTHING: list[dict[str, str]] = [
    {"API_HOST": HOST},
    {"API_HOST": HOST, "API_PORT": "5432"},
    {"API_SCHEME": "https"},
    {"API_SCHEME": "https", "OTHER_HOST": HOST},
    {"API_SCHEME": "postgres", "API_HOST": HOST, "API_PORT": "443"},
    {"API_SCHEME": "https", "API_HOST": "shop.prod.svc"},
    {"API_SCHEME": "https", "API_HOST": "10.0.0.1"},
    {"API_SCHEME": "https", "API_HOST": "shop"},
    {"API_SCHEME": "https", "API_HOST": "$(OTHER)"},
    {"API_SCHEME": "https", "API_HOST": "a.example.com,b.example.com"},
    {"API_HOST": HOST, "API_PORT": "443", "API_SCHEME": "tcp"},
    {"HOST": "0.0.0.0", "PORT": "443"},
]

# What is said, and why it is not changed.
TOLD: list[tuple[dict[str, str], str, str]] = [
    ({"API_HOST": HOST, "API_PORT": "443"}, HOST, "API_PORT too), which leave open how the call is made"),
    ({"API_HOST": HOST, "API_USE_HTTPS": "true"}, HOST, "API_USE_HTTPS too), which leave open"),
    ({"OTLP_ENDPOINT": f"{HOST}:443"}, HOST, "without a scheme"),
    ({"API_SCHEME": "https", "API_HOST": HOST, "API_PORT": "80"}, f"{HOST}:80", "API_SCHEME"),
    ({"API_SCHEME": "https", "API_HOST": HOST, "API_USE_HTTPS": "true"}, HOST, "leave open"),
    ({"API_SCHEME": "https", "API_HOST": f"{HOST}:443", "API_PORT": "443"}, HOST, "leave open"),
    ({"API_SCHEME": "https", "API_HOST": HOST, "API_SERVER": "shop"}, HOST, "leave open"),
    ({"API_PROTO": "http", "API_SCHEME": "https", "API_HOST": HOST}, HOST, "leave open"),
    ({"SCHEME": "https", "HOST": HOST}, HOST, "perhaps of its own address"),
    ({"PUBLIC_API_SCHEME": "https", "PUBLIC_API_HOST": HOST}, HOST, "perhaps of its own address"),
    ({"N8N_PROTOCOL": "https", "N8N_HOST": HOST}, HOST, "perhaps of its own address"),
    ({"API_SCHEME": "https", "API_HOST": HOST, "A": "$(API_SCHEME)://other"}, HOST, "together with something else"),
    ({"API_SCHEME": "https", "API_HOST": HOST, "OTHER_SCHEME": "$(API_SCHEME)"}, HOST, "together with something else"),
    ({"API_SCHEME": "https", "API_HOST": HOST, "A": "[ $API_SCHEME = https ]"}, HOST, "together with something else"),
    ({"API_SCHEME": "https", "API_HOST": HOST, "API_PORT": "443", "A": "db:${API_PORT}"}, HOST, "together with"),
    # https:// to port 80 would be nobody's
    (
        {"API_SCHEME": "https", "API_HOST": HOST, "API_PORT": "443", "A": "https://$API_HOST:$API_PORT"},
        HOST,
        "together",
    ),
    ({"API_SCHEME": "https", "API_HOST": f"{HOST}.", "A": "$(API_HOST)"}, HOST, "together with something else"),
]

CHANGED: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"API_SCHEME": "https", "API_HOST": HOST}, {"API_SCHEME": "http"}),
    (
        {"API_PROTOCOL": "https://", "API_HOST": HOST, "API_PORT": "443"},
        {"API_PROTOCOL": "http://", "API_PORT": "80"},
    ),
    ({"api.scheme": "HTTPS", "api.host": "API.example.com."}, {"api.scheme": "HTTP", "api.host": "API.example.com"}),
    ({"apiScheme": "wss", "apiHost": HOST}, {"apiScheme": "ws"}),
    ({"API_SCHEME": "https", "API_HOST": f"{HOST}.:443"}, {"API_SCHEME": "http", "API_HOST": HOST}),
    (
        {"API_SCHEME": "https", "API_HOST": HOST, "API_PORT": "443", "A": "x ${API_SCHEME}://$API_HOST:$API_PORT/"},
        {"API_SCHEME": "http", "API_PORT": "80"},
    ),
    (
        {"API_SCHEME": "https", "API_HOST": HOST, "API_URL": "$(API_SCHEME)://$(API_HOST)/v1"},
        {"API_SCHEME": "http"},
    ),
    (
        {"API_SCHEME": "https", "API_HOST": f"{HOST}.", "API_URL": "https://$(API_HOST)/v1"},
        {"API_SCHEME": "http", "API_HOST": HOST, "API_URL": "http://$(API_HOST)/v1"},
    ),
    ({"API_SCHEME": "https", "API_HOST": HOST, "A": f"curl $API_SCHEME://{HOST}/"}, {"API_SCHEME": "http"}),
]


@pytest.mark.parametrize("env", NOTHING)
def test_settings_that_say_no_call(env: dict[str, str]) -> None:
    assert scan(document(deployment(env=env)), {}) == ()


@pytest.mark.parametrize(("env", "host", "why"), TOLD)
def test_settings_that_are_told_and_changed_by_hand(env: dict[str, str], host: str, why: str) -> None:
    body = deployment(env=env, name="n8n") if "N8N_HOST" in env else deployment(env=env)
    site = next(site for site in scan(document(body), {}) if str(site.host) == host)
    assert site.url.encrypted
    assert not site.rewritable
    assert not is_aside(site)
    assert why in site.reason
    assert get(body, site.steps) == env[site.entry]


def rewritten(body: Body, maps: Mapping[Ref, Body]) -> tuple[Body, dict[Ref, Body]]:
    """The workload and its ConfigMaps with all that is rewritable done."""
    now: dict[Ref, Body] = {Ref("Deployment", body["metadata"]["namespace"], body["metadata"]["name"]): body, **maps}
    edits: dict[tuple[Ref, Steps], set[Edit]] = {}
    for site in scan(document(body), maps):
        edits.setdefault((site.object, site.steps), set()).update(site.url.edits if site.rewritable else ())
    for (ref, steps), found in edits.items():
        now[ref] = replaced(now[ref], steps, apply_edits(get(now[ref], steps), sorted(found)))
    return now.pop(next(iter(now))), now


@pytest.mark.parametrize(("env", "changed"), CHANGED)
def test_settings_that_are_changed_together(env: dict[str, str], changed: dict[str, str]) -> None:
    body = deployment(env=env)
    sites = scan(document(body), {})
    assert {site.entry for site in sites} == set(changed)
    assert all(site.rewritable and site.part and str(site.host) == HOST for site in sites)
    after, _ = rewritten(body, {})
    assert after == deployment(env={**env, **changed})
    clear = scan(document(after), {})
    assert {(site.url.scheme, site.server) for site in clear} == {(sites[0].url.scheme[:-1], Host(HOST))}
    assert not any(site.url.encrypted for site in clear)


def test_settings_from_a_config_map_and_from_the_template_belong_together() -> None:
    main = container(
        env=[{"name": "API_HOST", "valueFrom": {"configMapKeyRef": {"name": "f", "key": "host"}}}],
        envFrom=[{"prefix": "API_", "configMapRef": {"name": "g"}}],
    )
    maps = config_maps(config_map("f", {"host": HOST}), config_map("g", {"SCHEME": "https"}))
    (site,) = scan(document(deployment(containers=[main])), maps)
    assert (site.object.name, site.steps, site.entry) == ("g", ("data", "SCHEME"), "SCHEME")
    assert site.rewritable


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        ({"API_HOST": "shop.prod.svc"}, False),
        ({"API_HOST": "other.example.com"}, False),
        ({"API_HOST": "$(X)"}, False),
        ({"API_HOST": HOST}, True),
        ({"API_HOST": HOST, "API_SCHEME": "http"}, True),
    ],
)
def test_a_setting_that_another_container_reads_for_something_else_stays(other: dict[str, str], changed: bool) -> None:
    source = [{"configMapRef": {"name": "g"}}]
    pod = [container("one", env={"API_HOST": HOST}, envFrom=source), container("two", env=other, envFrom=source)]
    sites = scan(document(deployment(containers=pod)), config_maps(config_map("g", {"API_SCHEME": "https"})))
    assert {site.rewritable for site in sites if site.host.name == HOST and site.url.encrypted} == {changed}


@pytest.mark.parametrize(("url", "changed"), [("https://$(API_HOST)/x", False), ("https://shop/x", True)])
def test_a_setting_that_a_string_means_before_its_name_gets_another_value_stays(url: str, changed: bool) -> None:
    settings = config_map("g", {"API_SCHEME": "https", "API_HOST": f"{HOST}:443"})
    source = [{"configMapRef": {"name": "g"}}]
    replaced = {"API_SCHEME": "http", "API_URL": url, "API_HOST": "other.example.com"}
    pod = [container("one", envFrom=source), container("two", env=replaced, envFrom=source)]
    sites = scan(document(deployment(containers=pod)), config_maps(settings))
    assert {site.rewritable for site in sites if site.object.name == "g"} == {changed}


def test_a_later_entry_wins_and_a_secret_hides() -> None:
    main = container(
        env=[
            {"name": "A_SCHEME", "value": "https"},
            {"name": "A_HOST", "value": HOST},
            {"name": "A_HOST", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ]
    )
    assert scan(document(deployment(containers=[main])), {}) == ()


def test_an_issuer_in_parts_is_an_issuer() -> None:
    (site,) = scan(document(deployment(env={"ISSUER_SCHEME": "https", "ISSUER_HOST": HOST})), {})
    assert is_aside(site)


FILES: list[tuple[str, list[str]]] = [
    ("host: api.example.com\nport: 5432\n", []),
    ("a:\n  scheme: https\nb:\n  host: api.example.com\n", []),
    ("[a]\nscheme = https\n[b]\nhost = api.example.com\n", []),
    ("- scheme: https\n- host: api.example.com\n", []),
    ('{"a": {"scheme": "https"}, "b": {"host": "api.example.com"}}', []),
    ("{ not json\nhost", []),
    ("api:\n  scheme: https\n  host: api.example.com # x\n", ["api.example.com"]),
    ("api:\n  scheme: https\n  retry:\n    max: 3\n  host: api.example.com\n", ["api.example.com"]),
    (
        "- scheme: https\n  host: a.example.com\n- scheme: https\n  host: b.example.com\n",
        ["a.example.com", "b.example.com"],
    ),
    ("api.scheme=https\napi.host=api.example.com\napi.port=443\n", ["api.example.com"]),
    ("[api]\nprotocol = https\nserver = api.example.com\r\n", ["api.example.com"]),
    ('{"api": {"scheme": "https", "host": "api.example.com", "port": 443}}', ["api.example.com"]),
    ('{\n  "scheme": "https",\n  "host": "api.example.com"\n}\n', ["api.example.com"]),
    ('{"host":"api.example.com","port":443}', ["api.example.com"]),
]


@pytest.mark.parametrize(("text", "hosts"), FILES)
def test_settings_in_a_file(text: str, hosts: list[str]) -> None:
    found = [call for group in settings_in(text, FILE, ("data", "f"), "f") for call in split_calls(group)]
    assert sorted(str(call.url.host) for call in found) == hosts
    for call in found:
        assert text[call.url.start : call.url.end] == call.host.value


IN_FILES: list[tuple[str, str]] = [
    ("api:\n  scheme: https\n  host: api.example.com # x\n", "api:\n  scheme: http\n  host: api.example.com # x\n"),
    (
        "x:\n  scheme: https\n  host: shop.svc\ny:\n  scheme: https\n  host: api.example.com\n  port: 443\n",
        "x:\n  scheme: https\n  host: shop.svc\ny:\n  scheme: http\n  host: api.example.com\n  port: 80\n",
    ),
    ("pay.scheme=https\r\npay.host=api.example.com.\r\n", "pay.scheme=http\r\npay.host=api.example.com\r\n"),
    ("[pay]\nprotocol = https\nserver = api.example.com\n", "[pay]\nprotocol = http\nserver = api.example.com\n"),
    (
        '{"x": {"scheme": "https", "host": "shop.svc"}, "y": [{"scheme": "https", "host": "api.example.com", "port": 443}]}',
        '{"x": {"scheme": "https", "host": "shop.svc"}, "y": [{"scheme": "http", "host": "api.example.com", "port": 80}]}',
    ),
    ("apis:\n- scheme: https\n  host: api.example.com\n", "apis:\n- scheme: http\n  host: api.example.com\n"),
    # its own address, as far as can be told
    ("scheme: https\nhost: api.example.com\n", ""),
    ("a:\n- b\nscheme: https\nhost: api.example.com\n", ""),
    ("[server]\nprotocol = https\ndomain = api.example.com\n", ""),
    ('{"public": {"scheme": "https", "host": "api.example.com"}}', ""),
    ('{"y": {"scheme": "https", "host": "api.example.com", "server": "x"}}', ""),
]


@pytest.mark.parametrize(("text", "changed"), IN_FILES)
def test_settings_in_a_mounted_file_are_changed_where_they_stand(text: str, changed: str) -> None:
    volume: dict[str, Any] = {"name": "v", "configMap": {"name": "f"}}
    body = deployment(containers=[container(volumeMounts=[{"name": "v", "mountPath": "/x"}])], volumes=[volume])
    after, maps = rewritten(body, config_maps(config_map("f", {"app": text})))
    assert after == body
    (only,) = maps.values()
    assert only["data"]["app"] == (changed or text)


def test_settings_in_a_file_that_is_mounted() -> None:
    volume: dict[str, Any] = {"name": "v", "configMap": {"name": "f"}}
    body = deployment(containers=[container(volumeMounts=[{"name": "v", "mountPath": "/x"}])], volumes=[volume])
    text = "scheme: https\nhost: api.example.com\nurl: https://b.example.com\n"
    sites = scan(document(body), config_maps(config_map("f", {"app.yaml": text})))
    assert [(str(site.host), site.rewritable) for site in sites] == [("b.example.com", True), (HOST, False)]
    hostile = "".join(f"a{n}.scheme=https\na{n}.host=a{n}.example.com\n" for n in range(3000))
    assert len(scan(document(body), config_maps(config_map("f", {"app.properties": hostile})))) == 3000
