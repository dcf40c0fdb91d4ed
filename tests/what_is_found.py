"""docs/what-is-found.md, made from the tables by which things are found: `python -m tests.what_is_found > docs/what-is-found.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubectl_egress.inside import INSIDE
from kubectl_egress.kinds import CUSTOM_KINDS, KINDS
from kubectl_egress.paths import kubectl_path
from kubectl_egress.places import ANNOTATION_PLACES, CONTAINER_PLACES, KUBELET_PLACES
from kubectl_egress.scan.call_sites import CALLS_ANNOTATION
from kubectl_egress.scan.identifiers import RULES
from kubectl_egress.scan.parts import OWN_WORDS
from kubectl_egress.scan.settings import ROLES
from kubectl_egress.urls import apply_edits, find_urls, shown

# What may stand in a string; the page says what is found there, as the scanner itself does.
FORMS: tuple[tuple[str, str], ...] = (
    ("a URL", "https://api.example.com/v1?a=b#c"),
    ("upper case", "HTTPS://API.Example.com/V1"),
    ("port 443", "https://api.example.com:443/v1"),
    ("another port", "https://api.example.com:8443/v1"),
    ("user info", "https://bob:secret@api.example.com/v1"),
    ("a token in the query", "https://api.example.com/v1?token=secret"),
    ("WebSocket", "wss://api.example.com/feed"),
    ("a final dot", "https://api.example.com./v1"),
    ("an international name", "https://bücher.example/v1"),
    ("percent-encoding in the name", "https://api%2Eexample.com/v1"),
    ("several in one string", "https://a.example.com,https://b.example.com/x;https://c.example.com"),
    ("a URL in another's query", "https://a.example.com/?next=https://b.example.com/"),
    ("in a sentence", "see (https://api.example.com/v1)."),
    ("in JSON, slashes escaped", '{"url":"https:\\/\\/api.example.com\\/v1"}'),
    ("in Java properties, colons escaped", "url=https\\://api.example.com\\:443/v1"),
    ("a default of a shell", "${API:-https://api.example.com/v1}"),
    ("a path known at run time", "https://api.example.com/$PATH"),
    ("a port known at run time", "https://api.example.com:$PORT/v1"),
    ("a host known at run time", "https://$HOST/v1"),
    ("another name that begins alike", "https://api.example.com.evil.example/v1"),
    ("another scheme", "git+https://api.example.com/v1"),
    ("in clear already", "http://api.example.com/v1"),
)

INTRODUCTION = f"""# What is found, and what is left alone

`kubectl egress inspect` looks for URLs (`https`, `http`, `wss`, `ws`) of hosts outside the cluster. This page is made from the
tables that it goes by; a test compares the two.

What the tables do not know is added by hand: `--path KIND[.GROUP]:JSONPATH` names a further place, `--force HOST=PATH` counts a
URL as a call although it looks like an identifier, and so does the annotation `{CALLS_ANNOTATION}: HOST,…` on a workload or
its pod template (`*` for every host).
"""


def page() -> str:
    """The whole page."""
    return "\n".join((INTRODUCTION, *_kinds(), *_places(), *_forms(), *_none(), *_inside(), _REST))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for cells in (head, ("---",) * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _kinds() -> Iterator[str]:
    yield "## Workloads\n"
    rows = ((row.kind, row.api_version, kubectl_path(row.template)) for row in (*KINDS, *CUSTOM_KINDS))
    yield from _table(("kind", "API", "pod template"), rows)


def _places() -> Iterator[str]:
    yield "## Where strings are read\n"
    yield "In every container, init containers and native sidecars too:\n"
    patterns = [(place.word, kubectl_path(place.pattern).replace(".\\*", "[*]")) for place in CONTAINER_PLACES]
    patterns += [
        (f"{place.word}, called by the kubelet: told, never rewritten", kubectl_path(place.pattern))
        for place in KUBELET_PLACES
    ]
    yield from _table(("what", "where"), patterns)
    yield (
        "`$(VAR)` is resolved as Kubernetes does, chains of them too; of `https://$(HOST)/…` in `env` the scheme changes, and any other URL that is "
        "composed of several is told. ConfigMaps, and with `--include-secrets` Secrets, are read where a container names them: `envFrom` with its prefix, "
        "`configMapKeyRef`, volumes and projected volumes with `items` and `subPath`. Of Secrets that are not read it is told that "
        "one gives a container all its keys, or a variable that is named like a URL. Comments of scripts and files are no calls; the text of a "
        "here-document is a file's.\n"
    )
    yield "Annotations of the pod template count where a container reads them by the downward API, and these:\n"
    yield from _table(("annotation", "what it says"), ((f"`{row.prefix}…`", row.why) for row in ANNOTATION_PLACES))
    yield "A call may be said by several settings whose names begin alike, in an environment or in a file:\n"
    yield from _table(("part", "last words of its name"), ((part, ", ".join(names)) for part, names in ROLES.items()))
    yield (
        "Scheme and port change together (`https` to `http`, `443` or another port to `80`, a final dot or a port of the host goes). It is told, and "
        "left for a person, where that could be wrong: without a scheme of its own, with a switch or with two settings for one part; "
        "where a setting is put together with anything else than its host, or read by another container (in files: by another "
        "workload) for another call; and where the names do not tell it from the application's own address: no name in common, that "
        f"of the workload, the container or the image, or one of these words: {', '.join(sorted(OWN_WORDS))}.\n"
    )


def _forms() -> Iterator[str]:
    yield "## What counts as a URL\n"
    yield "Wherever it stands in a string; host and port have to be said exactly, and credentials are never shown:\n"
    rows = ((form, f"`{shown(text)}`", _found(text), _becomes(text)) for form, text in FORMS)
    yield from _table(("form", "text", "hosts", "becomes"), rows)


def _found(text: str) -> str:
    return ", ".join(f"`{url.host}`" for url in find_urls(text)) or "none"


def _becomes(text: str) -> str:
    urls = find_urls(text)
    changed = apply_edits(text, [edit for url in urls if not url.reason for edit in url.edits])
    reasons = "; ".join(dict.fromkeys(url.reason for url in urls if url.reason))
    return reasons or (f"`{shown(changed)}`" if changed != text else "the same")


def _none() -> Iterator[str]:
    yield "## What looks like a call and is none (`looks-like-identifier`)\n"
    yield "By the name in front of a URL (its key, option or tag, else the entry that holds it), or by the URL itself:\n"
    yield from _table(("it is", "why it is left alone"), ((rule.reason, rule.why) for rule in RULES))
    yield (
        "What `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` name is the application's own proxy, and no host that it calls: "
        "`own-proxy` is about it.\n"
    )


def _inside() -> Iterator[str]:
    yield "## What is not outside\n"
    yield "IP addresses in any form, names without a dot, and names that are or end in:\n"
    yield from _table(("name", "what it is"), ((f"`{name}`", why) for name, why in INSIDE.items()))


_REST = """The cluster's own domain is read from the mesh's settings. Two more depend on the cluster: `name.namespace`, where the
namespace exists, is a Service; and a host is the mesh's own where a ServiceEntry has it as `MESH_INTERNAL`, or where a
VirtualService takes its TLS traffic to a Service.
"""


if __name__ == "__main__":
    print(page(), end="")
