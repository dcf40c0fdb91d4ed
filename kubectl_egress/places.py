"""Where URLs are written: a table, and rows that `--path` adds to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubectl_egress.errors import UsageError
from kubectl_egress.model import Document, Steps
from kubectl_egress.urls import parse_host

ANY = "*"


@dataclass(frozen=True, slots=True)
class Place:
    """One row: strings of a container, or of an object of `kind`, in which a URL is one that the pod calls."""

    word: str
    """What a person calls it."""
    pattern: Steps = ()
    """The address in a container; `*` stands for every index."""
    kind: str = ""
    """Empty for a place in a container."""
    group: str = ""
    """The API group of the kind; empty for any."""
    path: str = ""
    """The expression as it was typed, in jsonpath-ng's dialect."""
    expression: Any = field(default=None, compare=False)

    def concerns(self, document: Document) -> bool:
        """Whether the row is about this object."""
        group = document.ref.api_version.rpartition("/")[0]
        return self.kind == document.ref.kind and self.group in ("", group)


_PROBES = (("livenessProbe",), ("readinessProbe",), ("startupProbe",))
_HOOKS = (("lifecycle", "postStart"), ("lifecycle", "preStop"))

# In the order in which they stand in a container's reference.
CONTAINER_PLACES = (
    Place("command", ("command", ANY)),
    Place("argument", ("args", ANY)),
    Place("environment", ("env", ANY, "value")),
    *(Place("probe", (*probe, "exec", "command", ANY)) for probe in _PROBES),
    *(Place("lifecycle hook", (*hook, "exec", "command", ANY)) for hook in _HOOKS),
)

# These are called by the kubelet, outside of the pod: no sidecar sees them.
KUBELET_PLACES = (
    *(Place("probe", (*probe, "httpGet")) for probe in _PROBES),
    *(Place("lifecycle hook", (*hook, "httpGet")) for hook in _HOOKS),
)


@dataclass(frozen=True, slots=True)
class AnnotationPlace:
    """Annotations of a pod template that configure what runs in the pod."""

    prefix: str
    """What their keys begin with."""
    why: str
    reason: str
    """Why a URL in one is not rewritten."""


_INJECTED = "called by a container that is injected, perhaps before the sidecar: change it by hand"

# What an annotation says to a controller, a scraper or an agent of the node is called by those, not by the pod. An
# annotation that the application itself reads (downward API) needs no row.
ANNOTATION_PLACES = (
    AnnotationPlace("vault.hashicorp.com/service", "the address of Vault, called by the injected agent", _INJECTED),
    AnnotationPlace("vault.hashicorp.com/proxy-address", "the agent's proxy", _INJECTED),
    AnnotationPlace(
        "vault.hashicorp.com/agent-inject-template-", "the text of a file that the application reads", _INJECTED
    ),
    AnnotationPlace("dapr.io/env", "the environment of Dapr's sidecar", _INJECTED),
    AnnotationPlace("instrumentation.opentelemetry.io/otel-exporter-otlp-endpoint", "where traces go", _INJECTED),
)


def matches(value: Any, pattern: Steps, prefix: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """What stands at the pattern in a value, each with its address."""
    if not pattern:
        yield prefix, value
        return
    step, rest = pattern[0], pattern[1:]
    if step == ANY and isinstance(value, Sequence) and not isinstance(value, str):
        for number, inner in enumerate(value):
            yield from matches(inner, rest, (*prefix, number))
    elif isinstance(value, Mapping) and step in value:
        yield from matches(value[step], rest, (*prefix, step))


def parse_place(text: str) -> Place:
    """Read `--path KIND[.GROUP]:JSONPATH`, as `Rollout.argoproj.io:spec.template.spec.containers[*].env[*].value`.

    UsageError if there is no kind or the JSONPath does not parse.
    """
    remedy = "For example: --path 'Rollout.argoproj.io:spec.template.spec.containers[*].env[*].value'"
    name, colon, path = text.partition(":")
    kind, _, group = name.strip().partition(".")
    path = path.strip().removeprefix("{").removesuffix("}")
    path = path.removeprefix("$").removeprefix(".")
    if not colon or not kind or not path:
        raise UsageError(f"{text!r} does not name a kind and a path", remedy)
    from jsonpath_ng.exceptions import JSONPathError  # its tables take 40 ms, and few runs need them
    from jsonpath_ng.parser import parse

    try:
        expression = parse(path)
    except JSONPathError as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{path!r} is no JSONPath: {reason}", remedy) from error
    return Place("path", kind=kind, group=group, path=path, expression=expression)


@dataclass(frozen=True, slots=True)
class Forced:
    """What `--force HOST=PATH` says: URLs of this host at this address are calls, whatever they look like."""

    host: str
    path: str
    """In kubectl's dialect, with its first dot."""


def parse_forced(text: str) -> Forced:
    """Read `--force HOST=PATH`, as `idp.example.com=.spec.template.spec.containers[0].env[2].value`; UsageError otherwise."""
    remedy = "For example: --force 'idp.example.com=.spec.template.spec.containers[0].env[2].value', as inspect -o wide shows it"
    host, equals, path = text.partition("=")
    path = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if not equals or not path:
        raise UsageError(f"--force: {text!r} does not name a host and a path", remedy)
    return Forced(parse_host(host.strip()).name, path if path.startswith((".", "[")) else f".{path}")


def strings_at(place: Place, body: Any) -> Iterator[tuple[Steps, str]]:
    """The strings that a row of `--path` finds in an object, each with its address."""
    for match in place.expression.find(body):
        if isinstance(match.value, str):
            yield _steps(match.full_path), match.value


def _steps(path: Any) -> Steps:
    from jsonpath_ng import Child, Fields, Index

    if isinstance(path, Child):
        return _steps(path.left) + _steps(path.right)
    if isinstance(path, Fields):
        return tuple(path.fields)
    return tuple(path.indices) if isinstance(path, Index) else ()
