"""URLs in strings of any kind: where they stand, whom they call, the edits that make them `http://`, how to show them.

Offsets count characters of the string that was searched. Everything here takes time linear in that string.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

from kubectl_egress.errors import UsageError
from kubectl_egress.inside import INSIDE
from kubectl_egress.model import Edit, Host, Url

DEFAULT_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}

REASON_ADDRESS = "an IP address, not a host name"
REASON_IN_CLUSTER = "not an external host"
REASON_NAME = "a host name that Kubernetes does not accept in hostAliases"
REASON_RUNTIME_PORT = "the port is known only at run time"

# Java's Properties.store writes `https\://host\:8443`, PHP's and Go's JSON `https:\/\/host\/path`.
_MARK = re.compile(r":\\?/\\?/")

# What ends a URL in a script, in JSON, in YAML, in prose; a pipe and a caret are no URL characters (RFC 3986).
_END = r"""\s"'`<>|^\x00-\x1f\x7f"""

# No possessive quantifiers: before Python 3.11.5 they may match nothing where there is something (gh-106052). None is
# needed: what follows each repetition either cannot fail or cannot begin within it, so that nothing is tried twice.

# Names end at everything that no name may hold; what stands there then decides whether the name is complete.
_AUTHORITY = re.compile(
    rf"""
    (?P<user>(?:(?:[^{_END}/?\#\\@]|\\[:@])*@)*)
    (?P<host>\[[0-9A-Fa-f:.%]*\]|[^{_END}/?\#\\@:,;&(){{}}\[\]$*!=+~]*)
    (?P<port>(?:\\?:[0-9]*)?)
    """,
    re.VERBOSE,
)
_ENDS_AUTHORITY = re.compile(rf"[{_END}/?#\\,;&)\]}}!]|\Z")
_RUNTIME_VALUE = re.compile(r"[${%<]")
# `https://a/x,https://b/y` are two; `https://a/?next=https://b` is one.
_TAIL = re.compile(
    rf"(?:[^{_END}\\,;(){{}}\[\]]|[,;(){{}}\[\]](?!(?:https?|wss?)\\?:)|\\(?:[/:=\#&?]|u[0-9A-Fa-f]{{4}}))*",
    re.IGNORECASE,
)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SCHEME = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+.-"
_TRAILING = ".,;:!?&)]}"
_DOTS = (".", "%2e", "%2E", "。", "．", "｡")
_BRACKETS = {")": "(", "]": "[", "}": "{"}


# ---- names ----------------------------------------------------------------------------------------------------------


def parse_host(text: str) -> Host:
    """Read HOST of the command line: `host`, `host:port` or `*.host`. UsageError if it is anything else."""
    remedy = "Give a host name as it stands in the URL: httpbin.org, httpbin.org:8443 or *.example.com."
    if "://" in text or "/" in text or "@" in text:
        found = find_urls(text)
        hint = f" Here: {found[0].host}" if found else ""
        raise UsageError(f"{shown(text)!r} is a URL, not a host", remedy + hint)
    if text.startswith("[") or text.count(":") > 1:
        raise UsageError(f"{text!r} is an IP address: TLS origination needs a host name", remedy)
    raw, colon, digits = text.partition(":")
    port = _port(digits) if colon else 443
    if port is None:
        raise UsageError(f"{digits!r} is not a port", "A port is a number from 1 to 65535.")
    name = _normalised(raw.removeprefix("*."))
    if name is None or "_" in name:
        raise UsageError(f"{text!r} is not a host name" if text else "the host is empty", remedy)
    if _is_address(name):
        raise UsageError(f"{text!r} is an IP address: TLS origination needs a host name", remedy)
    if raw.startswith("*.") and "." not in name:
        raise UsageError(f"{text!r} is a whole top-level domain", remedy)
    if not external(name):
        raise UsageError(f"{text!r} is not outside the cluster", "In-cluster calls need no ServiceEntry. " + remedy)
    return Host(f"*.{name}" if raw.startswith("*.") else name, port)


def external(host_name: str, cluster_domain: str = "cluster.local") -> bool:
    """Whether a normalised name can be outside: no IP address, not this machine, not a name of the cluster's own DNS.

    A Service is `name`, `name.namespace`, `name.namespace.svc` and the same under the cluster's domain
    (https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/); `name.namespace` cannot be told from
    a public name, except for the namespace `default`, which is no top-level domain.
    """
    name = host_name.removeprefix("*.")
    if _is_address(name) or "." not in name:
        return False
    domain = cluster_domain.lower().strip(".")
    while name:
        if name in INSIDE or name == domain:
            return False
        name = name.partition(".")[2]
    return True


def _is_address(name: str) -> bool:
    # A host whose last label is a number is an IPv4 address or nothing (https://url.spec.whatwg.org/#ends-in-a-number-checker).
    return name.startswith("[") or bool(_NUMBER.fullmatch(name.rpartition(".")[2]))


def _normalised(raw: str) -> str | None:
    """Lower case, ASCII (IDNA 2008 with the mapping of UTS 46, as clients do), no final dot; None if it is no name."""
    if "%" in raw:
        try:
            raw = unquote(raw, errors="strict")
        except UnicodeDecodeError:
            return None
    if raw.startswith("["):
        return _ipv6(raw)
    if len(raw) > 300:  # no name is longer than 253 octets; IDNA need not look at more
        return None
    name = (raw.lower() if raw.isascii() else _idna(raw)).removesuffix(".")
    return name if len(name) <= 253 and _NAME.fullmatch(name) else None


def _ipv6(raw: str) -> str | None:
    try:
        return f"[{ipaddress.IPv6Address(raw.strip('[]'))}]"
    except ValueError:
        return None


def _idna(raw: str) -> str:
    import idna  # its tables take 20 ms, and few names need them

    try:
        return idna.encode(raw, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return ""


def _port(digits: str) -> int | None:
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 8 else 0
    return number if 0 < number <= 65535 else None


# ---- finding --------------------------------------------------------------------------------------------------------


def find_urls(text: str) -> tuple[Url, ...]:
    """Every http, https, ws and wss URL whose host the text says exactly, in order, without overlaps; never raises.

    A host that is known only at run time (`$HOST`, `{{ .host }}`, `%s`) makes no URL. The port of an `http://` or
    `ws://` URL without one is 80.
    """
    return tuple(_urls(text))


def occurrences(text: str, host_name: str) -> tuple[Url, ...]:
    """All URLs of one host (a normalised name), of any of the four schemes and any port, in order."""
    return tuple(url for url in _urls(text) if url.host.name == host_name)


def _urls(text: str) -> Iterator[Url]:
    position = 0
    while mark := _MARK.search(text, position):
        position = mark.end()
        start = _scheme_start(text, mark.start())
        if start is None:
            continue
        authority = _AUTHORITY.match(text, mark.end())
        assert authority is not None  # every part of it may be empty
        end = _tail_end(text, authority)
        position = max(position, end)
        url = _url(text, start, authority, end)
        if url is not None:
            yield url


def _scheme_start(text: str, colon: int) -> int | None:
    """Where the scheme in front of `://` begins, if it is one of ours and not the end of another (`git+https`)."""
    end = colon - 1 if text[colon - 1 : colon] == "\\" else colon
    for length in (5, 4, 3, 2):
        start = end - length
        if start >= 0 and text[start:end].lower() in DEFAULT_PORTS:
            break
    else:
        return None
    before = text[max(0, start - 32) : start]
    if before[-2:] in ("\\n", "\\r", "\\t"):  # a line break written in JSON or in a quoted string
        return start
    if not before or before[-1] not in _SCHEME:
        return start
    # A scheme begins with a letter, so `${API:--https://…}` and `:-https://…` are not the end of another one.
    run = before[len(before.rstrip(_SCHEME)) :]
    return start if not any(character.isalnum() for character in run) else None


def _tail_end(text: str, authority: re.Match[str]) -> int:
    """Where the URL ends: before what ends it, and before punctuation that belongs to the sentence around it."""
    start = authority.end()
    if text[start : start + 1] not in ("/", "?", "#", "\\", "$", "{", "%", "="):
        return start
    tail = _TAIL.match(text, start)
    assert tail is not None  # it may be empty
    end = tail.end()
    if text[end - 1] not in _TRAILING:
        return end
    open_minus_closed = {
        closing: tail[0].count(opening) - tail[0].count(closing) for closing, opening in _BRACKETS.items()
    }
    while end > start:
        last = text[end - 1]
        if last in _BRACKETS and open_minus_closed[last] < 0:
            open_minus_closed[last] += 1
        elif last not in ".,;:!?&":
            break
        end -= 1
    return end


def _url(text: str, start: int, authority: re.Match[str], end: int) -> Url | None:
    name = _normalised(authority["host"]) if authority["host"] else None
    if name is None:
        return None
    scheme = text[start : start + 5].lower().partition(":")[0].rstrip("\\")
    digits = authority["port"].lstrip("\\:")
    port = _port(digits) if digits else DEFAULT_PORTS[scheme]
    # `:<port>` is a placeholder too, although `<` ends a URL.
    runtime_port = not _ENDS_AUTHORITY.match(text, authority.end()) or text.startswith(":<", authority.end() - 1)
    if runtime_port and not (authority["port"] and _RUNTIME_VALUE.match(text, authority.end())):
        return None
    if port is None:
        return None
    if runtime_port:
        port = DEFAULT_PORTS[scheme]
    encrypted = scheme in ("https", "wss")
    return Url(
        start=start,
        end=end,
        text=text[start:end],
        scheme=scheme,
        host=Host(name, port),
        edits=_edits(text, start, scheme, authority) if encrypted else (),
        reason=_reason(name, port, encrypted, runtime_port),
    )


def _reason(name: str, port: int, encrypted: bool, runtime_port: bool) -> str:
    if _is_address(name):
        return REASON_ADDRESS
    if not external(name):
        return REASON_IN_CLUSTER
    if "_" in name:
        return REASON_NAME
    if runtime_port:
        return REASON_RUNTIME_PORT
    if encrypted and port == DEFAULT_PORTS["http"]:
        return "TLS on port 80, which http:// needs for itself"
    return ""


def _edits(text: str, start: int, scheme: str, authority: re.Match[str]) -> tuple[Edit, ...]:
    """`https` → `http`, `wss` → `ws`; a final dot of the host and the port go: `http://HOST` is led to the server's port."""
    old = text[start : start + len(scheme)]
    edits = [Edit(start, old, old[:-1])]
    rest = authority["port"] if authority["port"].lstrip("\\:") else ""
    host = authority["host"]
    dot = next((dot for dot in _DOTS if host.endswith(dot)), "") if host.endswith(_DOTS) else ""
    if dot + rest:
        edits.append(Edit(authority.start("port") - len(dot), dot + rest, ""))
    return tuple(edits)


# ---- editing --------------------------------------------------------------------------------------------------------


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """The text after all edits. ValueError if they overlap, are not in order, or the text is not what they expect."""
    parts: list[str] = []
    position = 0
    for edit in edits:
        if edit.start < position:
            raise ValueError("edits overlap or are not in order")
        if not text.startswith(edit.old, edit.start):
            raise ValueError(f"the text at {edit.start} is not what the edit expects")
        parts += (text[position : edit.start], edit.new)
        position = edit.end
    return "".join(parts) + text[position:]


def inverse(edits: Sequence[Edit], start: int = 0) -> tuple[Edit, ...]:
    """What takes the edits back in the text that they have made; `start`: the offset that theirs count from."""
    found, shift = [], 0
    for edit in edits:
        found.append(Edit(start + edit.start + shift, edit.new, edit.old))
        shift += len(edit.new) - len(edit.old)
    return tuple(found)


# ---- showing --------------------------------------------------------------------------------------------------------

# User info of any scheme: `postgres://user:password@host` stands in the same diffs.
_USER_INFO = re.compile(rf"(:\\?/\\?/)(?:(?:[^{_END}/?#\\@]|\\[:@])*@)+")
_PARAMETER = re.compile(
    r"""(?:[?&;#]|\\u0026|%26|%3[Ff])(?P<name>[^?&;#=%\s"'`<>\\|]*)(?:=|\\u003d|%3[Dd])""",
)
_PARAMETER_VALUE = re.compile(r"""(?:(?!%26)[^&;#\s"'`<>\\|])*""")
_SECRET_NAME = re.compile(
    r"token|secret|passw|pwd|signature|credential|session|jwt|key|auth(?!or)"
    r"|(?:^|[^a-z])(?:sig|code|pass|sas|otp|pin)(?![a-z])|[a-z](?-i:Sig|Code|Pass|Otp|Pin)(?![a-z])",
    re.IGNORECASE,
)


def shown(text: str) -> str:
    """Any text, with user info of URLs and query parameters that look like credentials as `***`."""
    return "".join(_masked_parameters(_USER_INFO.sub(r"\1***@", text)))


def _masked_parameters(text: str) -> Iterator[str]:
    position = 0
    while parameter := _PARAMETER.search(text, position):
        yield text[position : parameter.end()]
        position = parameter.end()
        # The value of any other parameter may be a URL with parameters of its own: the search goes on in it.
        if _SECRET_NAME.search(parameter["name"]):
            value = _PARAMETER_VALUE.match(text, position)
            assert value is not None  # it may be empty
            yield "***" if value[0] else ""
            position = value.end()
    yield text[position:]
