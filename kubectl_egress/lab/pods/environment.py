"""What a container's processes find in their environment and on their command line, by Kubernetes' rules."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubectl_egress.lab.parts import Body, LabRefusal

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAUNCHERS = "/.lab"
REFERENCE = re.compile(r"\$(\$|\(([-._a-zA-Z][-._a-zA-Z0-9]*)\))")
VARIABLE_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")

# (resource, name) → the object, or None
Lookup = Callable[[str, str], Body | None]


def expand(text: str, values: Mapping[str, str]) -> str:
    """`$(NAME)` → its value, `$$` → `$`; an unknown name stays as it is (k8s.io/kubernetes third_party/forked/golang/expansion)."""

    def replaced(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return values.get(match[2], match[0])

    return REFERENCE.sub(replaced, text)


def data_of(resource: str, body: Body) -> dict[str, bytes]:
    """The values of a ConfigMap or Secret, by key."""
    if resource == "secrets":
        plain = {key: value.encode() for key, value in (body.get("stringData") or {}).items()}
        return {**{key: base64.b64decode(value) for key, value in (body.get("data") or {}).items()}, **plain}
    binary = {key: base64.b64decode(value) for key, value in (body.get("binaryData") or {}).items()}
    return {**{key: value.encode() for key, value in (body.get("data") or {}).items()}, **binary}


def field_value(pod: Body, path: str) -> str:
    """The value of a `fieldRef`."""
    metadata, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    plain = {
        "metadata.name": metadata.get("name", ""),
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata.get("uid", ""),
        "spec.nodeName": spec.get("nodeName", "lab"),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": status.get("podIP", ""),
        "status.hostIP": status.get("hostIP", ""),
    }
    if path in plain:
        return str(plain[path])
    match = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
    if match is None:
        raise LabRefusal(f"the lab knows no fieldRef {path}")
    return str((metadata.get(match[1]) or {}).get(match[2], ""))


def environment(container: Body, pod: Body, lookup: Lookup) -> dict[str, str]:
    """The variables of a container, `envFrom` first, `env` in order over it.

    Raises LabRefusal with the kubelet's words where a reference leads nowhere and is not optional.
    """
    values: dict[str, str] = {"PATH": PATH, "HOSTNAME": str(pod["metadata"]["name"]), "HOME": "/"}
    for source in container.get("envFrom") or ():
        values.update(_from_source(source, lookup))
    for entry in container.get("env") or ():
        if entry.get("valueFrom"):
            value = _from_reference(entry["valueFrom"], pod, lookup)
            if value is not None:
                values[entry["name"]] = value
        else:
            values[entry["name"]] = expand(str(entry.get("value") or ""), values)
    values["PATH"] = f"{LAUNCHERS}:{values['PATH']}"
    return values


def _from_source(source: Body, lookup: Lookup) -> dict[str, str]:
    resource, key = ("secrets", "secretRef") if "secretRef" in source else ("configmaps", "configMapRef")
    reference = source.get(key) or {}
    body = lookup(resource, reference.get("name", ""))
    if body is None:
        if reference.get("optional"):
            return {}
        raise LabRefusal(_not_found(resource, reference))
    prefix = source.get("prefix") or ""
    return {
        prefix + name: value.decode(errors="replace")
        for name, value in data_of(resource, body).items()
        if VARIABLE_NAME.fullmatch(prefix + name)
    }


def _from_reference(source: Body, pod: Body, lookup: Lookup) -> str | None:
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"].get("fieldPath", ""))
    for key, resource in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
        if key in source:
            return _key_of(resource, source[key], lookup)
    if "resourceFieldRef" in source:
        return "0"
    raise LabRefusal(f"the lab knows no valueFrom of {', '.join(source)}")


def _key_of(resource: str, reference: Body, lookup: Lookup) -> str | None:
    body = lookup(resource, reference.get("name", ""))
    values = data_of(resource, body) if body is not None else {}
    if reference.get("key") in values:
        return values[reference["key"]].decode(errors="replace")
    if reference.get("optional"):
        return None
    if body is None:
        raise LabRefusal(_not_found(resource, reference))
    raise LabRefusal(f"couldn't find key {reference.get('key')} in {_kind(resource)} {reference.get('name')}")


def _kind(resource: str) -> str:
    return {"configmaps": "ConfigMap", "secrets": "Secret"}[resource]


def _not_found(resource: str, reference: Body) -> str:
    return f'{_kind(resource).lower()} "{reference.get("name", "")}" not found'


def arguments(container: Body, values: Mapping[str, str]) -> list[str]:
    """`command` and `args`, with `$(NAME)` replaced; empty where the image would have to say what to run."""
    command: Sequence[Any] = container.get("command") or ()
    if not command:
        return []
    return [expand(str(part), values) for part in (*command, *(container.get("args") or ()))]
