"""Calls that several settings say together; what says none first."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_egress.model import Ref
from kubectl_egress.paths import get
from kubectl_egress.scan import is_aside, scan
from kubectl_egress.scan.settings import settings_in, split_calls
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

SPLIT: list[tuple[dict[str, str], str, str]] = [
    ({"API_SCHEME": "https", "API_HOST": HOST}, HOST, "API_SCHEME"),
    ({"API_PROTOCOL": "https://", "API_HOST": HOST, "API_PORT": "443"}, HOST, "API_PROTOCOL"),
    ({"API_HOST": HOST, "API_PORT": "443"}, HOST, "API_PORT"),
    ({"API_HOST": HOST, "API_USE_HTTPS": "true"}, HOST, "API_USE_HTTPS"),
    ({"api.scheme": "HTTPS", "api.host": "API.example.com."}, HOST, "api.scheme"),
    ({"apiScheme": "wss", "apiHost": HOST}, HOST, "apiScheme"),
    ({"OTLP_ENDPOINT": f"{HOST}:443"}, HOST, "without a scheme"),
    ({"API_SCHEME": "https", "API_HOST": HOST, "API_PORT": "8443"}, f"{HOST}:8443", "API_SCHEME"),
]


@pytest.mark.parametrize("env", NOTHING)
def test_settings_that_say_no_call(env: dict[str, str]) -> None:
    assert scan(document(deployment(env=env)), {}) == ()


@pytest.mark.parametrize(("env", "host", "why"), SPLIT)
def test_settings_that_say_a_call(env: dict[str, str], host: str, why: str) -> None:
    body = deployment(env=env)
    (site,) = scan(document(body), {})
    assert str(site.host) == host
    assert site.url.encrypted
    assert not site.rewritable
    assert not is_aside(site)
    assert why in site.reason
    assert get(body, site.steps) == env[site.entry]


def test_settings_from_a_config_map_and_from_the_template_belong_together() -> None:
    main = container(
        env=[{"name": "API_HOST", "valueFrom": {"configMapKeyRef": {"name": "f", "key": "host"}}}],
        envFrom=[{"prefix": "API_", "configMapRef": {"name": "g"}}],
    )
    maps = config_maps(config_map("f", {"host": HOST}), config_map("g", {"SCHEME": "https"}))
    (site,) = scan(document(deployment(containers=[main])), maps)
    assert (site.object.name, site.steps, site.entry) == ("f", ("data", "host"), "host")


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


def test_settings_in_a_file_that_is_mounted() -> None:
    volume: dict[str, Any] = {"name": "v", "configMap": {"name": "f"}}
    body = deployment(containers=[container(volumeMounts=[{"name": "v", "mountPath": "/x"}])], volumes=[volume])
    text = "scheme: https\nhost: api.example.com\nurl: https://b.example.com\n"
    sites = scan(document(body), config_maps(config_map("f", {"app.yaml": text})))
    assert [(str(site.host), site.rewritable) for site in sites] == [("b.example.com", True), (HOST, False)]
