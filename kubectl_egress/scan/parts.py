"""Whether the settings that say a call together can be changed together, and nothing else with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from kubectl_egress import kinds
from kubectl_egress.model import Body, Document, Host, Ref, Steps
from kubectl_egress.scan.files import settings_in
from kubectl_egress.scan.naming import Name
from kubectl_egress.scan.settings import Setting, SplitCall, split_calls
from kubectl_egress.scan.sign_in import stems_of
from kubectl_egress.scan.strings import MESH_CONTAINERS, Found, Reader

# Settings so named may be about the application's own address, or about one where browsers are sent.
_OWN = """
public external app application site self own web www website frontend front server listen listener bind advertised
advertise virtual local root base ingress console portal ui dashboard domain cookie session cors http https tls ssl
instance node login logout signin signup auth oauth oidc sso idp cdn static asset assets image images media email mail
link links share redirect callback origin docs help support default global main common proxy
"""
OWN_WORDS = frozenset(_OWN.split())

# `$(NAME)` of Kubernetes, `${NAME}`, `${NAME:-x}` and `$NAME` of shells.
_REFERENCE = re.compile(
    r"\$(?:\((?P<kubernetes>[^()\s]{1,300})\)|\{(?P<braces>\w+)(?:[^\w}][^}]{0,300})?\}|(?P<plain>[A-Za-z_]\w*))"
)
_FAR = 600

Place = tuple[Ref, Steps, int]


@dataclass(frozen=True)
class Reading:
    """What one container reads, and the calls that its settings say together; what few need is made when it is asked for."""

    workload: Ref
    steps: Steps
    container: Body
    strings: tuple[Found, ...]
    groups: tuple[tuple[Setting, ...], ...]
    calls: tuple[SplitCall, ...]

    @property
    def name(self) -> str:
        """The container's."""
        return str(self.container.get("name", ""))

    @cached_property
    def names(self) -> frozenset[str]:
        """The words of its own name, its workload's and its image's, each name as one word too."""
        image = str(self.container.get("image", "")).rpartition("/")[2].partition("@")[0].partition(":")[0]
        named = [Name(str(one)).words for one in (self.workload.name, self.container.get("name"), image)]
        return frozenset(word for one in named for word in (*one.split(), one.replace(" ", "")))

    @cached_property
    def texts(self) -> Mapping[tuple[Ref, Steps], str]:
        """The files among its strings, by where they stand."""
        return {(found.object, found.steps): found.text for found in self.strings if found.object != self.workload}

    @cached_property
    def sign_in(self) -> frozenset[str]:
        """The stems of the credentials among its settings."""
        return stems_of(setting.name for group in self.groups for setting in group)

    @cached_property
    def uses(self) -> Mapping[Place, frozenset[Host | None]]:
        """By the place of each setting, the hosts that it is a part of a call to; None where it is not known to be."""
        called = {setting.place: call.url.host for call in self.calls for _, setting, _ in call.parts}
        found: dict[Place, set[Host | None]] = {}
        for group in self.groups:
            for setting in group:
                found.setdefault(setting.place, set()).add(called.get(setting.place))
        return {place: frozenset(hosts) for place, hosts in found.items()}

    @cached_property
    def references(self) -> Mapping[str, Sequence[tuple[str, int, int]]]:
        """By variable, where strings refer to it, as Kubernetes or a shell does: the string, and the span there."""
        found: dict[str, list[tuple[str, int, int]]] = {}
        for one in self.strings:
            for match in _REFERENCE.finditer(one.text) if "$" in one.text else ():
                variable = match["kubernetes"] or match["braces"] or match["plain"]
                found.setdefault(variable, []).append((one.text, *match.span()))
        return found


def readings(workload: Document, reader: Reader) -> tuple[Reading, ...]:
    """The containers of a pod template, without those of the mesh, as far as they read strings."""
    prefix = kinds.template_steps(workload.ref.kind) if reader.template else ()
    return tuple(
        _reading(workload.ref, reader, (*prefix, *steps), container)
        for steps, container, _ in kinds.containers(reader.template)
        if container.get("name") not in MESH_CONTAINERS
    )


def _reading(workload: Ref, reader: Reader, steps: Steps, container: Body) -> Reading:
    strings = tuple(reader.container(steps, container))
    groups = [tuple(reader.settings(steps, container))]
    for found in strings:
        if found.object != workload:
            groups += [tuple(one) for one in settings_in(found.text, found.object, found.steps, found.entry)]
    calls = tuple(call for group in groups for call in split_calls(group))
    return Reading(workload, steps, container, strings, tuple(groups), calls)


def why_not(call: SplitCall, reading: Reading, all_of_them: Sequence[Reading]) -> str:
    """Why the settings of a call cannot be changed, in words; empty if they can, or if there are none to change."""
    if not call.parts:
        return "which leave open how the call is made"
    words = set(call.subject.split())
    if words & OWN_WORDS or words <= reading.names or call.subject.replace(" ", "") in reading.names:
        return "perhaps of its own address"
    for _, setting, _ in call.parts:
        if any(
            one.uses.get(setting.place, frozenset()) - {call.url.host} or _reads_what_it_replaces(setting, one)
            for one in all_of_them
        ):
            return "which others read as well"
    if any(_used_otherwise(call, role, setting, reading) for role, setting, _ in call.parts if not setting.inside):
        return "which are put together with something else"
    return ""


def _reads_what_it_replaces(setting: Setting, one: Reading) -> bool:
    """Whether a container gets the setting in bulk, refers to it, and gives its name to another value of its own.

    What refers to it may stand before the other value, and then means this one.
    """
    field = "secretRef" if setting.object.kind == "Secret" else "configMapRef"
    bulk = {(source.get(field) or {}).get("name") for source in one.container.get("envFrom") or ()}
    return setting.place not in one.uses and setting.object.name in bulk and setting.name in one.references


def _used_otherwise(call: SplitCall, role: str, setting: Setting, reading: Reading) -> bool:
    """Whether a string puts a setting that changes together with anything else than the rest of this call."""
    scheme = next(one.name for part, one, _ in call.parts if part == "scheme")
    host = rf"(?:{_reference(call.host.name)}|{re.escape(call.host.value)})"
    for text, start, end in reading.references.get(setting.name, ()):
        before = text[max(0, start - _FAR) : start]
        if role == "scheme":
            fits = re.match(rf"[\"']?://{host}", text[end : end + _FAR])
        else:
            fits = re.search(r"://\Z" if role == "host" else rf"{_reference(scheme)}://{host}[\"']?:\Z", before)
        if fits is None:
            return True
    return False


def _reference(name: str) -> str:
    quoted = re.escape(name)
    return rf"(?:\$\({quoted}\)|\$\{{{quoted}\}}|\${quoted}(?!\w))"


def used_by(workload: Document, sources: Mapping[Ref, Body]) -> Mapping[Place, frozenset[Host | None]]:
    """By the place of each setting that the workload's containers read, the hosts that it is a part of a call to."""
    found: dict[Place, frozenset[Host | None]] = {}
    reader = Reader(workload.ref, kinds.pod_template(workload.body) or {}, sources)
    for one in readings(workload, reader):
        for place, hosts in one.uses.items():
            found[place] = found.get(place, frozenset()) | hosts
    return found
