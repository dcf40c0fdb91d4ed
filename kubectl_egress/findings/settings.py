"""What an application is told by its environment and its command lines, as far as it concerns one host."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kubectl_egress import paths
from kubectl_egress.findings.scope import Caller, Scope
from kubectl_egress.mesh import covers
from kubectl_egress.model import SOURCE_KINDS, Body, Host, Ref, Steps

JVM_VARIABLES = (
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
    "JAVA_OPTS",
    "JVM_OPTS",
    "CATALINA_OPTS",
    "MAVEN_OPTS",
    "GRADLE_OPTS",
)
# By kind of source, what names one whose every key is a variable, and what names one key of it.
_WHOLE = {"ConfigMap": "configMapRef", "Secret": "secretRef"}
_KEYS = {"ConfigMap": "configMapKeyRef", "Secret": "secretKeyRef"}
_VALUE = r"""[A-Za-z_]\w*=(?:"[^"]*"|'[^']*'|[^\s;&|)]*)"""
_ASSIGNMENTS = re.compile(
    rf"(?:^|[;&|(])[ \t]*(?:(?:then|do|else)\s+)?(?:exec\s+)?(?:export\s+|env\s+)?((?:{_VALUE}(?:[ \t]+|(?=[;&|)\n])|$))+)",
    re.MULTILINE,
)
_ASSIGNED = re.compile(r"""(?<![\w.-])([A-Za-z_]\w*)=("[^"]*"|'[^']*'|[^\s;&|)]*)""")
_USED = re.compile(r"\$[({]?([A-Za-z_][\w.-]*)")
_LOOP = re.compile(r"\bfor\s+([A-Za-z_]\w*)\s+in\s+([^;\n]*)")
_ENDS_COMMAND = re.compile(r"\n|;|&&|\|\|?|(?<!&)&(?![&#\w])")
_CLIENT = re.compile(r"(?<![\w./-])(?:[\w./-]*/)?(?P<name>curl|wget)(?![\w.-])")
_ALONE = (
    "[afgijklnpqsvBGILMNORSVZ#0-46]*"  # curl's short options that take no argument, and so may stand before another
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable of a container; `value` None where it is not read (a Secret, the pod's fields)."""

    value: str | None
    object: Ref
    steps: Steps


def calling_containers(caller: Caller, hosts: Iterable[Host]) -> Iterator[tuple[Steps, Body]]:
    """The containers that call one of the hosts, and their addresses; a site that several may read counts for all."""
    called = {site.container for site in caller.sites for host in hosts if covers(host.name, site.host.name)}
    for steps, container in caller.containers():
        if "" in called or container.get("name") in called:
            yield steps, container


def environment(scope: Scope, caller: Caller, steps: Steps, container: Body) -> dict[str, Setting]:
    """The variables of a container, as Kubernetes puts them together: `envFrom` first, `env` wins; then what its shell sets."""
    found: dict[str, Setting] = {}
    for source in container.get("envFrom") or ():
        for kind, field in _WHOLE.items():
            for key, setting in _source(scope, caller, kind, source.get(field) or {}):
                found[str(source.get("prefix", "")) + key] = setting
    for number, entry in enumerate(container.get("env") or ()):
        address = (*steps, "env", number)
        kind, reference = _chosen(entry)
        known = dict(_source(scope, caller, kind, reference)).get(str(reference.get("key", "")))
        text = None if entry.get("valueFrom") else str(entry.get("value") or "")
        found[str(entry.get("name", ""))] = known or Setting(text, caller.ref, address)
    return found | dict(_assigned(scope, caller, steps, container))


def _assigned(scope: Scope, caller: Caller, steps: Steps, container: Body) -> Iterator[tuple[str, Setting]]:
    """`export NAME=value` and `NAME=value command` of the container's shell, and of scripts that it reads."""
    for text, ref, address in _texts(scope, caller, steps, container):
        for assigned in _ASSIGNMENTS.findall(text):
            for one in re.findall(_VALUE, assigned):
                name, _, value = one.partition("=")
                yield name, Setting(value.strip("\"'"), ref, address)


def _texts(scope: Scope, caller: Caller, steps: Steps, container: Body) -> Iterator[tuple[str, Ref, Steps]]:
    words = [str(word) for field in ("command", "args") for word in container.get(field) or ()]
    yield "\n".join(words), caller.ref, (*steps, "command" if container.get("command") else "args")
    called = {(site.object, site.steps) for site in caller.sites if site.container in ("", container.get("name"))}
    for ref, inner in sorted(called, key=str):
        yield from _source_text(scope, ref, inner)


def _chosen(entry: Body) -> tuple[str, Body]:
    """The kind of source that a variable has its value from, and the reference to it; an empty one without."""
    source = entry.get("valueFrom") or {}
    return next(((kind, source[field]) for kind, field in _KEYS.items() if source.get(field)), ("ConfigMap", {}))


def _source(scope: Scope, caller: Caller, kind: str, reference: Body) -> Iterator[tuple[str, Setting]]:
    ref = Ref(kind, caller.ref.namespace, str(reference.get("name", "")))
    for key, value in ((scope.survey.source(ref) or {}).get("data") or {}).items():
        yield key, Setting(str(value), ref, ("data", key))


@dataclass(frozen=True, slots=True)
class CommandLine:
    """One command of curl or wget, and where it stands."""

    client: str
    text: str
    object: Ref
    steps: Steps


def command_lines(scope: Scope, caller: Caller, host: Host) -> Iterator[CommandLine]:
    """The command lines of curl and wget that call a host: by name, or by a variable that holds a URL of it."""
    scripts = scope.scripts(caller)
    named = _calling(caller, host, [text for text, _, _ in scripts]) if scripts else None
    for text, ref, steps in scripts if named else ():
        for command in _ENDS_COMMAND.split(text.replace("\\\n", " ")):
            client = _CLIENT.search(command)
            if client and named and named.search(command):
                yield CommandLine(client["name"], command.strip(), ref, steps)


def _calling(caller: Caller, host: Host, scripts: Iterable[str]) -> re.Pattern[str]:
    """The host's name, or any variable that has it: by its value, by a source's key, by another variable, by a shell."""
    sites = [site for site in caller.sites if site.host.name == host.name]
    held = {(site.object.kind, site.object.name, site.entry) for site in sites if site.entry}
    known = {site.entry for site in sites if site.object == caller.ref and site.entry}
    values: list[tuple[str, str]] = []
    for _, container in caller.containers():
        for source in container.get("envFrom") or ():
            names = {(kind, (source.get(field) or {}).get("name")) for kind, field in _WHOLE.items()}
            known |= {f"{source.get('prefix') or ''}{key}" for kind, holder, key in held if (kind, holder) in names}
        for entry in container.get("env") or ():
            kind, reference = _chosen(entry)
            if (kind, reference.get("name"), reference.get("key")) in held:
                known.add(str(entry.get("name", "")))
            values.append((str(entry.get("name", "")), str(entry.get("value") or "")))
    for text in scripts:
        values += _LOOP.findall(text)
        values += _ASSIGNED.findall(text)
    known = _with_followers(known, values, host)
    return re.compile("|".join([re.escape(host.name), *map(_reference, sorted(known))]), re.IGNORECASE)


def _with_followers(known: set[str], values: Iterable[tuple[str, str]], host: Host) -> set[str]:
    """Those variables, and all whose value has the host's name or, directly or not, one of them."""
    followers: dict[str, set[str]] = {}
    found = set(known)
    for name, value in values:
        if host.name in value.lower():
            found.add(name)
        for used in _USED.findall(value):
            followers.setdefault(used, set()).add(name)
    ahead = list(found)
    while ahead:
        more = followers.pop(ahead.pop(), set()) - found
        found |= more
        ahead += more
    return found


def _reference(variable: str) -> str:
    return rf"\$[({{]?{re.escape(variable)}(?![\w.-])"


def _source_text(scope: Scope, ref: Ref, steps: Steps) -> Iterator[tuple[str, Ref, Steps]]:
    if ref.kind in SOURCE_KINDS:
        # gone meanwhile: another check says so
        with contextlib.suppress(KeyError):
            yield str(paths.get(scope.survey.source(ref) or {}, steps)), ref, steps


def jvm_options(container: Body, variables: Mapping[str, Setting]) -> str:
    """Everything that may hold options of a JVM: its variables, command and arguments."""
    texts = [variables[name].value or "" for name in JVM_VARIABLES if name in variables]
    return " ".join([*texts, *(str(word) for field in ("command", "args") for word in container.get(field) or ())])


def has_option(line: CommandLine, short: str, *long: str) -> bool:
    """Whether a command line has an option: `--name`, `--name=value`, or curl's `-x`, `-sx`."""
    if short and line.client == "curl" and re.search(rf"(?<!\S)-{_ALONE}{short}", line.text):
        return True
    return any(re.search(rf"(?<!\S){re.escape(name)}(?![\w-])", line.text) for name in long)


def has_value(line: CommandLine, name: str) -> str:
    """The value of an option of a command line: `--name value`, `--name=value`; empty without it."""
    found = re.search(rf"(?<!\S){re.escape(name)}[= ]\s*(\S+)", line.text)
    return found[1].strip("\"'") if found else ""
