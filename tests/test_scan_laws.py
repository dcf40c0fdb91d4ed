"""What holds of every string that somebody may have written: nothing fails, nothing is invented, nothing takes its square."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubectl_egress.errors import ManifestError
from kubectl_egress.findings import check
from kubectl_egress.manifests import parse
from kubectl_egress.model import Body, CallSite
from kubectl_egress.paths import get
from kubectl_egress.scan import REASON_COMPOSED, is_aside, scan
from kubectl_egress.scan.script import line_comments, shell_comments
from kubectl_egress.urls import apply_edits, find_urls, shown
from tests.build import config_map, config_maps, container, deployment, document
from tests.build_mesh import survey_of

FRAGMENTS = [
    *("https://", "HTTPS://", "http://", "wss://", "git+https://", "https:\\/\\/", "https\\://", "://"),
    *("a.example.com", "b.example.org", "localhost", "10.0.0.1", "shop.prod.svc", "münchen.example", "a%2eexample.com"),
    *(":443", ":8443", ":", "/", "/x?y=z", "#", "?", "@", "user:pw@", ".", ",", ";", "|", "(", ")", "[", "]", "{", "}"),
    *(
        "'",
        '"',
        "\\",
        "`",
        "$(A)",
        "$$(A)",
        "${A}",
        "{{ .x }}",
        "%s",
        "<",
        ">",
        "<<EOF\n",
        "EOF",
        "\n",
        "\t",
        " ",
        "  ",
        "- ",
    ),
    *(
        "issuer: ",
        "issuer=",
        "url: ",
        '"host": "',
        "host: ",
        "scheme: https",
        "port: 443",
        "# ",
        "curl ",
        "=",
        "--url ",
        "(+",
    ),
]
TEXTS = st.one_of(st.lists(st.sampled_from(FRAGMENTS), max_size=24).map("".join), st.text(max_size=40))


def workload(env: Sequence[str], script: str, file: str) -> tuple[Body, Body]:
    """A Deployment with these strings everywhere where strings are read, and the ConfigMap that it mounts."""
    main = container(
        env=dict(zip(("A", "API_URL", "API_HOST", "API_SCHEME", "API_PORT"), env, strict=False)),
        command=["sh", "-c", script],
        args=list(env),
        volumeMounts=[{"name": "v", "mountPath": "/x"}],
        envFrom=[{"configMapRef": {"name": "f"}}],
    )
    volumes = [{"name": "v", "configMap": {"name": "f"}}]
    annotations = {"vault.hashicorp.com/service": script}
    return (
        deployment(containers=[main], volumes=volumes, annotations=annotations),
        config_map("f", {"app.yaml": file, "API_HOST": env[0] if env else ""}),
    )


def found(env: Sequence[str], script: str, file: str) -> tuple[Body, Body, tuple[CallSite, ...]]:
    body, data = workload(env, script, file)
    return body, data, scan(document(body), config_maps(data))


@given(st.lists(TEXTS, max_size=5), TEXTS, TEXTS)
@settings(max_examples=300)
def test_every_host_stands_in_the_text_and_every_edit_fits(env: list[str], script: str, file: str) -> None:
    body, data, sites = found(env, script, file)
    for site in sites:
        text = get(body if site.object.kind == "Deployment" else data, site.steps)
        assert 0 <= site.url.start <= site.url.end <= len(text)
        said = text if site.reason != REASON_COMPOSED else "\n".join([text, *env])
        plain = unquote(said.replace("\\", "")).lower()
        if plain.isascii() and site.host.name.isascii() and "$(" not in said:
            assert site.host.name in plain
        if site.url.edits:
            assert text[site.url.start : site.url.end] == site.url.text
            assert len(apply_edits(text, site.url.edits)) < len(text)
        assert not (is_aside(site) and site.rewritable)


@given(TEXTS)
@settings(max_examples=300)
def test_looking_at_a_string_never_fails(text: str) -> None:
    for spans in (shell_comments(text), line_comments(text)):
        assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert [url for url in find_urls(text) if not text[url.start : url.end]] == []
    assert len(shown(text)) >= 0


@given(TEXTS)
@settings(max_examples=200)
def test_a_manifest_is_read_or_refused(text: str) -> None:
    with suppress(ManifestError):
        parse(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  x: {text}\n", "a.yaml")
    whole = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": text}}
    (read,) = parse(json.dumps(whole), "a.json")
    assert read.body["data"]["x"].encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


# ---- hostile input --------------------------------------------------------------------------------------------------

# Long enough that whatever takes the square of it does not end within the time that a test may take.
_LENGTH = 120_000
PIECES = [
    *(
        "https://",
        "://",
        "a",
        "[",
        "https://a@",
        "https://a.b,",
        "'",
        '"\\',
        "<<a\n",
        "<<-a\n\ta",
        "- ",
        "x: ",
        "{",
        '{"a":',
    ),
    *(
        "$(A)",
        "#",
        "(+",
        "<!DOCTYPE ",
        "<a ",
        "--a ",
        "host: a.b\n",
        "scheme: https\nhost: a.example.com\n",
        " \n",
        "-",
        "a:",
        "=",
    ),
    *(
        "https://a.example.com/",
        "https://a.example.com\n",
        "- https://a.example.com\n",
        "https://a.example.com/)",
        "?token=",
        "&",
    ),
    *(
        "\\/",
        "[a]\n",
        "  ",
        "\t",
        "a.b",
        "https://a.example.com:443 ",
        "issuer: ['",
        "\\u0041",
        "%41",
        "ü",
        "$(",
        "))",
        "}}",
    ),
]


@pytest.mark.parametrize("piece", PIECES)
def test_hostile_strings_end(piece: str) -> None:
    text = piece * (_LENGTH // len(piece))
    for hostile in (text, f"https://{text}", f"x: {text}://a.example.com", f"{text}https://a.example.com"):
        find_urls(hostile)
        shown(hostile)
        shell_comments(hostile)
        line_comments(hostile)


SHORT = _LENGTH // 4


@pytest.mark.parametrize("piece", PIECES)
def test_hostile_workloads_end(piece: str) -> None:
    text = piece * (SHORT // len(piece))
    *_, sites = found([text[:1000]], text, text)
    assert len(sites) <= len(text)


def test_hostile_numbers_of_settings_end() -> None:
    many: dict[str, str] = {}
    for number in range(1_500):
        pair = f"A{number}"
        many |= {f"{pair}_SCHEME": "https", f"{pair}_HOST": f"{pair.lower()}.example.com"}
        many |= {f"{pair}_X": f"$({pair}_SCHEME)://$({pair}_HOST)/", f"L{number}": f"$(L{number + 1})"}
    sites = scan(document(deployment(env=many)), {})
    assert sum(site.rewritable for site in sites) == 1_500
    text = "".join(f"p{number}:\n  scheme: https\n  host: p{number}.example.com\n" for number in range(1_500))
    keys = {f"k{number}": f"q.scheme=https\nq.host=k{number}.example.com\n" for number in range(1_500)}
    body = deployment(
        containers=[container(volumeMounts=[{"name": "v", "mountPath": "/x"}])],
        volumes=[{"name": "v", "configMap": {"name": "f"}}],
    )
    assert len(scan(document(body), config_maps(config_map("f", {"all": text, **keys})))) == 3_000
    for piece in ('{"scheme":', "[" * 5, "a:\n ", "- scheme: https\n", "[x]\nhost=a.b\n", "host: a.b\n "):
        scan(document(body), config_maps(config_map("f", {"all": f"host {piece * (SHORT // len(piece))}"})))


def test_following_variables_ends() -> None:
    chain = {f"V{number}": f"$(V{number + 1})" for number in reversed(range(3_000))} | {
        "V3000": "https://a.example.com"
    }
    survey, sites = survey_of(deployment(command=["sh", "-c", "curl -x p:1 $V0"], env=chain))
    assert "own-proxy" in {one.code for one in check(survey, sites, None)}


def test_hostile_numbers_of_entries_end() -> None:
    many: dict[str, Any] = {f"A{number}": "https://a.example.com" for number in range(4_000)}
    assert len(scan(document(deployment(env=many)), {})) == len(many)
    file = config_map("f", {f"k{number}": "https://a.example.com" for number in range(4_000)})
    mounts = [{"name": "v", "mountPath": f"/x{number}", "subPath": f"k{number}"} for number in range(200)]
    body = deployment(containers=[container(volumeMounts=mounts)], volumes=[{"name": "v", "configMap": {"name": "f"}}])
    assert len(scan(document(body), config_maps(file))) == len(mounts)
