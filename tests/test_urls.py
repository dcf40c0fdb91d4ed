"""URLs: what is one, what is none, what changes, what is shown."""

from __future__ import annotations

import gc
import time

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from kubectl_egress.errors import UsageError
from kubectl_egress.model import Edit, Host
from kubectl_egress.urls import apply_edits, external, find_urls, occurrences, parse_host, shown

NO_URL = [
    "",
    "httpbin.org",
    "https:/httpbin.org",
    "https://",
    "https:///path",
    "git+https://github.com/a/b",
    "postgres://user@db.example.com/x",
    "https://$HOST/x",
    "https://${HOST}/x",
    "https://{{ .Values.host }}/x",
    "https://$(HOST)/x",
    "https://%s/x",
    "https://<host>/x",
    "https://*.example.com",
    "https://api.$DOMAIN/",
    "https://httpbin.org$SUFFIX",
    "https://httpbin.org${SUFFIX}/x",
    "https://httpbin.org{{ .suffix }}",
    "https://httpbin.org%s",
    "https://httpbin..org/",
    "https://-httpbin.org/",
    "https://httpbin.org:99999/",
    "https://httpbin.org:0/",
    "https://httpbin.org:abc/",
    "https://httpbin.org%ff/",
    "https://" + "a" * 64 + ".example.com",
    "https://" + "a." * 200 + "com",
    "https://$HOST/?next=https://httpbin.org/",
]


@pytest.mark.parametrize("text", NO_URL)
def test_no_url(text: str) -> None:
    assert find_urls(text) == ()


# text, what is found of it, its host
ONE_URL = [
    ("https://httpbin.org", "https://httpbin.org", "httpbin.org"),
    ("curl -vs https://httpbin.org/status/200 \n", "https://httpbin.org/status/200", "httpbin.org"),
    ("https://httpbin.org.evil.com/", "https://httpbin.org.evil.com/", "httpbin.org.evil.com"),
    ("https://api.httpbin.org", "https://api.httpbin.org", "api.httpbin.org"),
    ("https://httpbin.org@evil.com/", "https://httpbin.org@evil.com/", "evil.com"),
    ("https://evil.com\\@httpbin.org/", "https://evil.com", "evil.com"),
    ("https://httpbin.org:443@evil.com/", "https://httpbin.org:443@evil.com/", "evil.com"),
    ("https://a@b@httpbin.org/", "https://a@b@httpbin.org/", "httpbin.org"),
    ("https://evil.com/@httpbin.org/", "https://evil.com/@httpbin.org/", "evil.com"),
    ("https://evil.com?@httpbin.org/", "https://evil.com?@httpbin.org/", "evil.com"),
    ("https://evil.com#@httpbin.org/", "https://evil.com#@httpbin.org/", "evil.com"),
    ("HTTPS://HTTPBIN.ORG/A", "HTTPS://HTTPBIN.ORG/A", "httpbin.org"),
    ("https://$USER:${PASS}@httpbin.org/", "https://$USER:${PASS}@httpbin.org/", "httpbin.org"),
    ("https://httpbin.org:8443/x", "https://httpbin.org:8443/x", "httpbin.org:8443"),
    ("https://httpbin.org:0443/x", "https://httpbin.org:0443/x", "httpbin.org"),
    ("https://httpbin.org:/x", "https://httpbin.org:/x", "httpbin.org"),
    ("http://httpbin.org/x", "http://httpbin.org/x", "httpbin.org:80"),
    ("ws://httpbin.org", "ws://httpbin.org", "httpbin.org:80"),
    ("https://bücher.example/", "https://bücher.example/", "xn--bcher-kva.example"),
    ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/", "xn--bcher-kva.example"),
    ("https://%68ttpbin%2Eorg/", "https://%68ttpbin%2Eorg/", "httpbin.org"),
    ("${API:-https://httpbin.org}", "https://httpbin.org", "httpbin.org"),
    ('url = "https://httpbin.org/a b"', "https://httpbin.org/a", "httpbin.org"),
    ("url=https\\://httpbin.org\\:8443/a", "https\\://httpbin.org\\:8443/a", "httpbin.org:8443"),
    ('{"url": "https:\\/\\/httpbin.org\\/a"}', "https:\\/\\/httpbin.org\\/a", "httpbin.org"),
    ('{"script": "a\\nhttps://httpbin.org\\nb"}', "https://httpbin.org", "httpbin.org"),
    ("<url>https://httpbin.org</url>", "https://httpbin.org", "httpbin.org"),
    ("(see https://httpbin.org/a_(b)).", "https://httpbin.org/a_(b)", "httpbin.org"),
    (
        "https://httpbin.org/get?next=https://b.example.com/",
        "https://httpbin.org/get?next=https://b.example.com/",
        "httpbin.org",
    ),
    ("curl https://httpbin.org&&echo", "https://httpbin.org", "httpbin.org"),
    ("curl https://httpbin.org;echo", "https://httpbin.org", "httpbin.org"),
    ("curl https://httpbin.org|sh", "https://httpbin.org", "httpbin.org"),
    ("[docs](https://httpbin.org)", "https://httpbin.org", "httpbin.org"),
    ("https://[2001:db8::1]:443/", "https://[2001:db8::1]:443/", "[2001:db8::1]"),
]


@pytest.mark.parametrize(("text", "found", "host"), ONE_URL)
def test_one_url(text: str, found: str, host: str) -> None:
    (url,) = find_urls(text)
    assert (url.text, str(url.host)) == (found, host)


def test_several_urls_in_one_string() -> None:
    text = "A=https://a.example.com,https://b.example.com/x;y,wss://c.example.com\nB='http://d.example.com' (ws://e.example.com/)"
    assert [url.text for url in find_urls(text)] == [
        "https://a.example.com",
        "https://b.example.com/x;y",
        "wss://c.example.com",
        "http://d.example.com",
        "ws://e.example.com/",
    ]


REWRITTEN = [
    ("https://httpbin.org/a?b#c", "http://httpbin.org/a?b#c"),
    ("wss://httpbin.org/a", "ws://httpbin.org/a"),
    ("HTTPS://HttpBin.org/A", "HTTP://HttpBin.org/A"),
    ("https://httpbin.org:443/a", "http://httpbin.org/a"),
    ("https://httpbin.org.:443/a", "http://httpbin.org/a"),
    ("https://httpbin.org./a", "http://httpbin.org/a"),
    ("https://httpbin%2eorg%2e/a", "http://httpbin%2eorg/a"),
    ("https://u:p%40@httpbin.org:443/a", "http://u:p%40@httpbin.org/a"),
    ("https\\://httpbin.org\\:443/a", "http\\://httpbin.org/a"),
    ("https:\\/\\/httpbin.org\\/a", "http:\\/\\/httpbin.org\\/a"),
    ("https://httpbin.org:8443/a", "http://httpbin.org/a"),
    ("wss://httpbin.org.:8443", "ws://httpbin.org"),
    ("https\\://httpbin.org\\:8443/a", "http\\://httpbin.org/a"),
    ("https://bücher.example./a", "http://bücher.example/a"),
    ("http://httpbin.org:443/a", "http://httpbin.org:443/a"),
    ("ws://httpbin.org/a", "ws://httpbin.org/a"),
]


@pytest.mark.parametrize(("before", "after"), REWRITTEN)
def test_edits(before: str, after: str) -> None:
    (url,) = find_urls(f"x {before} y")
    assert url.reason == ""
    assert apply_edits(f"x {before} y", url.edits) == f"x {after} y"


NOT_REWRITABLE = [
    ("https://10.0.0.1/", "an IP address"),
    ("https://0x7f.1/", "an IP address"),
    ("https://[::1]/", "an IP address"),
    ("https://localhost/", "not an external host"),
    ("https://shop/", "not an external host"),
    ("https://shop.prod.svc.cluster.local/", "not an external host"),
    ("https://kubernetes.default/", "not an external host"),
    ("https://a_b.example.com/", "does not accept"),
    ("https://httpbin.org:80/", "port 80"),
    ("https://httpbin.org:$PORT/", "only at run time"),
    ("https://httpbin.org:{{ .port }}/", "only at run time"),
    ("https://httpbin.org:<port>/", "only at run time"),
]


@pytest.mark.parametrize(("text", "reason"), NOT_REWRITABLE)
def test_reasons(text: str, reason: str) -> None:
    (url,) = find_urls(text)
    assert reason in url.reason


@pytest.mark.parametrize(
    ("name", "is_external"),
    [
        ("httpbin.org", True),
        ("*.example.com", True),
        ("vault.corp.internal", True),
        ("svc.example.com", True),
        ("localhost", False),
        ("a.localhost", False),
        ("printer.local", False),
        ("shop.prod.svc", False),
        ("shop.prod.svc.cluster.local", False),
        ("127.0.0.1", False),
        ("[::1]", False),
        ("shop", False),
    ],
)
def test_external(name: str, is_external: bool) -> None:
    assert external(name) is is_external


def test_external_by_the_cluster_s_own_domain() -> None:
    assert external("shop.k8s.example.com")
    assert not external("shop.k8s.example.com", "k8s.example.com.")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("httpbin.org", Host("httpbin.org")),
        ("HttpBin.ORG.", Host("httpbin.org")),
        ("httpbin.org:8443", Host("httpbin.org", 8443)),
        ("*.example.com", Host("*.example.com")),
        ("bücher.example", Host("xn--bcher-kva.example")),
    ],
)
def test_parse_host(text: str, host: Host) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://httpbin.org",
        "httpbin.org/status",
        "10.0.0.1",
        "::1",
        "[::1]",
        "[::1]:443",
        "localhost",
        "shop",
        "shop.prod.svc",
        "shop.prod.svc.cluster.local",
        "a.local",
        "a_b.example.com",
        "a b.example.com",
        "httpbin.org:",
        "httpbin.org:0",
        "httpbin.org:99999",
        "httpbin.org:x",
        "*",
        "*.",
        "a.*.com",
        "..",
        "x" * 400,
        "-a.com",
        "a@b.com",
        "*.svc",
    ],
)
def test_parse_host_refuses_with_a_remedy(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_host(text)
    assert caught.value.remedy
    assert "\n" not in caught.value.message


def test_parse_host_names_the_host_of_a_url_and_not_its_password() -> None:
    with pytest.raises(UsageError) as caught:
        parse_host("https://user:hunter2@httpbin.org/?token=hunter2")
    assert "httpbin.org" in caught.value.remedy
    assert "hunter2" not in caught.value.message + caught.value.remedy


def test_occurrences_count_every_scheme_of_one_host() -> None:
    text = "https://httpbin.org http://HTTPBIN.org. wss://httpbin.org:8443 https://api.httpbin.org https://httpbin.org.evil.com"
    assert [url.scheme for url in occurrences(text, "httpbin.org")] == ["https", "http", "wss"]


def test_apply_edits_refuses_what_does_not_fit() -> None:
    assert apply_edits("abc", []) == "abc"
    for edits in ([Edit(0, "x", "y")], [Edit(1, "b", ""), Edit(0, "a", "")], [Edit(0, "ab", ""), Edit(1, "b", "")]):
        with pytest.raises(ValueError, match="edit"):
            apply_edits("abc", edits)


@pytest.mark.parametrize(
    "text",
    [
        "https://httpbin.org/get?page=2&sort=author",
        "user@example.com",
        "https://registry.example.com/@scope/package",
        "TOKEN is not in a URL",
        "a?b=c",
    ],
)
def test_shown_leaves_the_rest_alone(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "https://user:S3CR3T@httpbin.org/",
        "https://S3CR3T@httpbin.org/",
        "postgres://user:S3CR3T@db.example.com/x",
        "https\\://user\\:S3CR3T@httpbin.org/",
        "https:\\/\\/user:S3CR3T@httpbin.org",
        "https://a:S3CR3T@b@httpbin.org/",
        "https://h.example.com/?token=S3CR3T",
        "https://h.example.com/?a=1&access_token=S3CR3T&b=2",
        "https://h.example.com/?api_key=S3CR3T",
        "https://h.example.com/?apiKey=S3CR3T",
        "https://h.example.com/?X-Amz-Signature=S3CR3T",
        "https://h.example.com/?sv=1&sig=S3CR3T",
        "https://h.example.com/?client_secret=S3CR3T",
        "https://h.example.com/?password=S3CR3T",
        "https://h.example.com/?code=S3CR3T==",
        "https://h.example.com/?authCode=S3CR3T",
        "https://h.example.com/#access_token=S3CR3T",
        "https://h.example.com/?a=1\\u0026token=S3CR3T",
        "https://h.example.com/?a=1&amp;token=S3CR3T",
        "https://h.example.com/?next=https%3A%2F%2Fa%3Ftoken%3DS3CR3T",
        "-  value: https://user:S3CR3T@httpbin.org/?token=S3CR3T\n+  value: http://user:S3CR3T@httpbin.org/?token=S3CR3T",
    ],
)
def test_shown_masks_credentials(text: str) -> None:
    masked = shown(text)
    assert "S3CR3T" not in masked
    assert "***" in masked
    assert shown(masked) == masked


# ---- laws -----------------------------------------------------------------------------------------------------------

pieces = st.sampled_from(
    [
        "https",
        "HTTP",
        "wss",
        "ws",
        "://",
        ":\\/\\/",
        "\\://",
        "httpbin.org",
        "a.b",
        "localhost",
        ":443",
        ":",
        "@",
        "/",
        "?",
        "#",
        "$",
        "{",
        "}",
        "(",
        ")",
        "%",
        "%2e",
        ".",
        ",",
        ";",
        "'",
        '"',
        " ",
        "\n",
        "\\",
        "ü",
        "。",
        "[",
        "]",
        "::1",
        "-",
        "&",
        "|",
    ]
)
texts = st.one_of(st.text(), st.lists(pieces, max_size=12).map("".join))


@settings(deadline=None)
@given(texts)
def test_spans_are_exact_and_in_order(text: str) -> None:
    position = 0
    for url in find_urls(text):
        assert url.start >= position
        assert text[url.start : url.end] == url.text
        assert all(url.start <= edit.start and edit.end <= url.end for edit in url.edits)
        assert url.encrypted == bool(url.edits)
        position = url.end


@settings(deadline=None)
@given(texts)
def test_what_is_rewritten_calls_the_same_hosts_in_clear(text: str) -> None:
    before = find_urls(text)
    after = find_urls(apply_edits(text, [edit for url in before for edit in url.edits]))
    assert [url.host.name for url in after] == [url.host.name for url in before]
    assert all(url.scheme in ("http", "ws") for url in after)


@settings(deadline=None)
@given(texts)
def test_shown_never_raises_and_is_stable(text: str) -> None:
    assert shown(shown(text)) == shown(text)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="ascii"), max_size=30) | texts)
def test_a_host_is_read_or_refused(text: str) -> None:
    try:
        host = parse_host(text)
    except UsageError as error:
        event(error.message)  # a refusal is an answer
    else:
        assert parse_host(str(host)) == host
        assert external(host.name)


@pytest.mark.parametrize(
    "unit",
    [
        "https://",
        "https://a.bc,",
        "://",
        "https://a@",
        "(",
        "?a=",
        "&",
        "https://ü",
        "-",
        ")",
        "\\",
        "https://a.bc/)",
        "%",
        "[",
    ],
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    def seconds(length: int) -> float:
        text = "https://a.bc/" + unit * (length // len(unit))
        begin = time.process_time()
        find_urls(text)
        shown(text)
        return time.process_time() - begin

    # 16 times the text: a quadratic search would take 256 times as long, each time; what else the machine does passes.
    gc.disable()
    try:
        assert any(seconds(320_000) < 60 * max(seconds(20_000), 0.002) for _ in range(5))
    finally:
        gc.enable()
