"""The strings that the containers of a pod template read: their own, and those of ConfigMaps and Secrets."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_egress import kinds, paths
from kubectl_egress.model import Body, Ref, Steps
from kubectl_egress.places import ANNOTATION_PLACES, CONTAINER_PLACES, matches
from kubectl_egress.scan.expansion import Expansion, expand
from kubectl_egress.scan.script import line_comments, script_index, shell_comments
from kubectl_egress.scan.settings import Setting
from kubectl_egress.scan.sign_in import stems_of

# What Istio's injector adds (istio.io/latest/docs/reference/config/annotations, pkg/kube/inject).
MESH_CONTAINERS = frozenset({"istio-proxy", "istio-init", "istio-validation"})

_ENVIRONMENT_FIELD: Steps = ("env", "*", "valueFrom", "fieldRef", "fieldPath")
_PROJECTED_FIELD: Steps = (
    *("spec", "volumes", "*", "projected", "sources", "*"),
    *("downwardAPI", "items", "*", "fieldRef", "fieldPath"),
)
# What names a source whose every key is a variable, or a file; what names one key of it.
_WHOLE = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
_KEYS = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}
_VOLUMES = (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"))
_PROJECTED = (("configMap", "ConfigMap", "name"), ("secret", "Secret", "name"))
_OPTION = re.compile(r"--?([A-Za-z][\w.-]*)")
_ANNOTATION_FIELD = re.compile(r"""metadata\.annotations(?:\[['"](?P<key>[^'"]+)['"]\])?""")


@dataclass(frozen=True, slots=True)
class Found:
    """A string, where it stands, and who reads it."""

    object: Ref
    steps: Steps
    text: str
    container: str = ""
    entry: str = ""
    label: str = ""
    """The argument before it, if that is an option (`--issuer`); of a source's key, the variable that it is given to."""
    expansion: Expansion | None = None
    """None where Kubernetes resolves no `$(VAR)`."""
    comments: Callable[[str], Sequence[tuple[int, int]]] | None = None
    """How comments are told in it; None where there can be none."""
    sign_in: frozenset[str] = frozenset()
    """The stems (`sign_in.stems_of`) of the credentials that are set beside it."""
    secret: bool = False
    """Whether it stands in a Secret, or means something of one once it is resolved."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The strings that the containers of one pod template read."""

    workload: Ref
    template: Body
    sources: Mapping[Ref, Body]
    """What the template may read: ConfigMaps, and Secrets as `secret_values.readable` has them."""

    def container(self, steps: Steps, container: Body) -> Iterator[Found]:
        """Its own strings first, then those of its sources, as environment and as files."""
        name = str(container.get("name", ""))
        values, entries, hidden = self._environment(container)
        scripts = script_index(container)
        stems = stems_of(self._names(container, values))
        for place in CONTAINER_PLACES:
            for inner, text in matches(container, place.pattern):
                if isinstance(text, str):
                    entry = str(container["env"][inner[1]].get("name", "")) if inner[0] == "env" else ""
                    comments = shell_comments if inner in scripts else None
                    label = "" if entry else _option_before(container, inner)
                    expansion = entries.get(inner[1]) if inner[0] == "env" else None
                    expansion = expansion or expand(text, values)
                    secret = _refers(text, hidden)
                    address = (*steps, *inner)
                    yield Found(self.workload, address, text, name, entry, label, expansion, comments, stems, secret)
        files = ((reference, key, "") for reference, key in self._file_keys(container))
        for reference, key, variable in (*self._environment_keys(container), *files):
            data = self._data(reference)
            text = data.get(key)
            if isinstance(text, str):
                near = stems | stems_of(data)
                yield Found(
                    reference,
                    ("data", key),
                    text,
                    name,
                    key,
                    variable,
                    comments=line_comments,
                    sign_in=near,
                    secret=reference.kind == "Secret",
                )

    def _names(self, container: Body, values: Mapping[str, str | None]) -> Iterator[str]:
        """What is set in a container: its variables, and the options of its command."""
        yield from values
        for field in ("command", "args"):
            for _, text in matches(container, (field, "*")):
                option = _OPTION.match(text) if isinstance(text, str) else None
                if option:
                    yield option[1]

    def annotations(self, prefix: Steps) -> Iterator[tuple[Found, str]]:
        """Annotations of the template that configure what runs in the pod, and why they are not to be rewritten, if so."""
        metadata = self.template.get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
        shown = self._shown_annotations()
        for key, text in annotations.items() if isinstance(annotations, Mapping) else ():
            row = next((row for row in ANNOTATION_PLACES if str(key).startswith(row.prefix)), None)
            if isinstance(text, str) and (row is not None or key in shown or "" in shown):
                steps = (*prefix, "metadata", "annotations", key)
                yield Found(self.workload, steps, text, entry=key, comments=line_comments), row.reason if row else ""

    def _shown_annotations(self) -> frozenset[str]:
        """The annotations that the downward API gives to a container; an empty one stands for all."""
        sources = (
            *(
                one
                for _, container, _ in kinds.containers(self.template)
                for one in matches(container, _ENVIRONMENT_FIELD)
            ),
            *matches(self.template, ("spec", "volumes", "*", "downwardAPI", "items", "*", "fieldRef", "fieldPath")),
            *matches(self.template, _PROJECTED_FIELD),
        )
        paths_shown = (str(path) for _, path in sources)
        found = (_ANNOTATION_FIELD.fullmatch(path) for path in paths_shown)
        return frozenset(match["key"] or "" for match in found if match)

    def settings(self, steps: Steps, container: Body) -> Iterator[Setting]:
        """What its environment says, each name with the value that it has at last and where that stands."""
        found: dict[str, Setting] = {}
        for reference, prefix in self._whole(container):
            for key, text in self._data(reference).items():
                if isinstance(text, str):
                    found[f"{prefix}{key}"] = Setting(f"{prefix}{key}", text, reference, ("data", key), 0, key)
        for number, entry in matches(container, ("env", "*")):
            name = str(entry.get("name", "")) if isinstance(entry, Mapping) else ""
            if name and (setting := self._setting(name, entry, (*steps, *number))) is not None:
                found[name] = setting
            else:
                found.pop(name, None)
        yield from found.values()

    def _setting(self, name: str, entry: Body, steps: Steps) -> Setting | None:
        source = entry.get("valueFrom")
        if not source:
            return Setting(name, str(entry.get("value") or ""), self.workload, (*steps, "value"), 0, name)
        chosen = self._chosen(source)
        if chosen is None:
            return None
        holder, key = chosen
        text = self._data(holder).get(key)
        return Setting(name, text, holder, ("data", key), 0, key) if isinstance(text, str) else None

    def _data(self, reference: Ref) -> Body:
        data = self.sources.get(reference, {}).get("data")
        return data if isinstance(data, Mapping) else {}

    def _reference(self, kind: str, source: Any, field: str = "name") -> Ref:
        name = source.get(field, "") if isinstance(source, Mapping) else ""
        return Ref(kind, self.workload.namespace, str(name), "v1")

    def _whole(self, container: Body) -> Iterator[tuple[Ref, str]]:
        """The sources whose every key is a variable, and what is put before the names of those."""
        for _, source in matches(container, ("envFrom", "*")):
            for field, kind in _WHOLE.items() if isinstance(source, Mapping) else ():
                if field in source:
                    yield self._reference(kind, source[field]), str(source.get("prefix") or "")

    def _chosen(self, source: Any) -> tuple[Ref, str] | None:
        """The source and the key of it that a `valueFrom` names; None for what it has from elsewhere."""
        for field, kind in _KEYS.items() if isinstance(source, Mapping) else ():
            reference = source.get(field)
            if isinstance(reference, Mapping):
                return self._reference(kind, reference), str(reference.get("key", ""))
        return None

    def _environment_keys(self, container: Body) -> Iterator[tuple[Ref, str, str]]:
        """The source, the key, and the variable that gets its value."""
        for reference, prefix in self._whole(container):
            yield from ((reference, key, f"{prefix}{key}") for key in self._data(reference))
        for _, entry in matches(container, ("env", "*")):
            chosen = self._chosen(entry.get("valueFrom")) if isinstance(entry, Mapping) else None
            if chosen is not None:
                yield (*chosen, str(entry.get("name", "")))

    def _environment(self, container: Body) -> tuple[dict[str, str | None], dict[str | int, Expansion], frozenset[str]]:
        """What `$(VAR)` can mean in the end, None where it is not known; and each entry of `env`, by its index, resolved.

        With them, the variables whose value has something of a Secret in it.
        As the kubelet does (pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables): `envFrom` first, later wins, and an
        entry of `env` sees those before it.
        """
        values: dict[str, str | None] = {}
        hidden: set[str] = set()
        for reference, prefix in self._whole(container):
            data = self._data(reference)
            found = {f"{prefix}{key}": text for key, text in data.items() if isinstance(text, str)}
            values.update(found)
            hidden |= set(found) if reference.kind == "Secret" else set()
        resolved: dict[str | int, Expansion] = {}
        entries = container.get("env")
        for number, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, Mapping):
                if not entry.get("valueFrom"):
                    resolved[number] = expand(str(entry.get("value") or ""), values)
                name = str(entry.get("name", ""))
                chosen = self._chosen(entry.get("valueFrom"))
                if (chosen and chosen[0].kind == "Secret") or _refers(str(entry.get("value") or ""), hidden):
                    hidden.add(name)
                # None for the downward API, and for a source that was not read
                values[name] = resolved[number].text if number in resolved else self._value(chosen)
        return values, resolved, frozenset(hidden)

    def _value(self, chosen: tuple[Ref, str] | None) -> str | None:
        """What a reference leads to; None where that is not known."""
        text = self._data(chosen[0]).get(chosen[1]) if chosen else None
        return text if isinstance(text, str) else None

    def _file_keys(self, container: Body) -> Iterator[tuple[Ref, str]]:
        """The keys of sources that the container mounts, one by one."""
        for _, mount in matches(container, ("volumeMounts", "*")):
            if not isinstance(mount, Mapping):
                continue
            for _, volume in matches(self.template, ("spec", "volumes", "*")):
                if isinstance(volume, Mapping) and volume.get("name") == mount.get("name"):
                    yield from self._volume_keys(volume, str(mount.get("subPath") or ""))

    def _volume_keys(self, volume: Body, sub_path: str) -> Iterator[tuple[Ref, str]]:
        sources = [
            *((one, kind, name) for field, kind, name in _VOLUMES for _, one in matches(volume, (field,))),
            *(
                (one, kind, name)
                for field, kind, name in _PROJECTED
                for _, one in matches(volume, ("projected", "sources", "*", field))
            ),
        ]
        for source, kind, name in sources:
            if not isinstance(source, Mapping):
                continue
            reference = self._reference(kind, source, name)
            chosen = [item for _, item in matches(source, ("items", "*")) if isinstance(item, Mapping)]
            for item in chosen or [{"key": key, "path": key} for key in self._data(reference)]:
                path = str(item.get("path", "")).strip("/")
                if not sub_path or f"{path}/".startswith(sub_path.strip("/") + "/"):
                    yield reference, str(item.get("key", ""))


def _refers(text: str, variables: Collection[str]) -> bool:
    """Whether a string refers to one of the variables, as Kubernetes resolves it."""
    return "$(" in text and any(f"$({name})" in text for name in variables)


def _option_before(container: Body, steps: Steps) -> str:
    """The argument before one, if it is an option without its value."""
    arguments = paths.get(container, steps[:-1])
    before = arguments[int(steps[-1]) - 1] if isinstance(steps[-1], int) and steps[-1] > 0 else ""
    return before if isinstance(before, str) and before.startswith("-") and "=" not in before else ""
