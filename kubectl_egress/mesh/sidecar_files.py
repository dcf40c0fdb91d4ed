"""What a sidecar reads from files, a private CA or a client certificate: where they lie, and what mounts them there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from kubectl_egress.errors import EgressError
from kubectl_egress.mesh.objects import file_directory
from kubectl_egress.model import Body, Host, Origination

VOLUMES = "sidecar.istio.io/userVolume"
MOUNTS = "sidecar.istio.io/userVolumeMount"
"""Annotations of the pod template, each a JSON object by volume name (pilot's injection template ranges over it)."""


def needs_files(origination: Origination) -> bool:
    """Whether the sidecar has to read files that its image does not hold."""
    return bool(origination.ca or origination.client_secret)


def volume_name(host: Host) -> str:
    """One volume for each host, so that taking one away leaves the others'."""
    return f"kubectl-egress-{hashlib.sha256(host.name.encode()).hexdigest()[:10]}"


def with_files(annotations: Mapping[str, str], host: Host, origination: Origination) -> dict[str, str]:
    """The annotations of a pod template that mount a host's files; EgressError where one is no JSON.

    A missing ConfigMap or Secret (`optional`) does not keep the pods from starting: connections to the host fail then.
    """
    sources: list[Body] = []
    if origination.ca:
        name, _, key = origination.ca.partition(":")
        sources.append({"configMap": {"name": name, "items": [{"key": key, "path": "ca.crt"}], "optional": True}})
    if origination.client_secret:
        items = [{"key": key, "path": key} for key in ("tls.crt", "tls.key")]
        sources.append({"secret": {"name": origination.client_secret, "items": items, "optional": True}})
    volume = {"projected": {"sources": sources}}
    mount = {"mountPath": file_directory(host), "readOnly": True}
    return {
        **annotations,
        VOLUMES: _with(annotations.get(VOLUMES, ""), VOLUMES, volume_name(host), volume),
        MOUNTS: _with(annotations.get(MOUNTS, ""), MOUNTS, volume_name(host), mount),
    }


def without_files(annotations: Mapping[str, str], host: Host) -> dict[str, str]:
    """The annotations without a host's volume; one in which nothing is left goes too."""
    found = dict(annotations)
    for key in (VOLUMES, MOUNTS):
        if key not in found:
            continue
        known = _parsed(found[key], key)
        left: Any = (
            [one for one in known if one.get("name") != volume_name(host)]
            if isinstance(known, list)
            else {name: value for name, value in known.items() if name != volume_name(host)}
        )
        if left == known:
            continue
        if left:
            found[key] = json.dumps(left)
        else:
            del found[key]
    return found


def _with(text: str, key: str, name: str, value: Body) -> str:
    known = _parsed(text, key)
    if isinstance(known, list):
        named = {"name": name, **value}
        after: Any = [*(one for one in known if one.get("name") != name), named]
    else:
        after = {**known, name: value}
    return text if after == known else json.dumps(after)


def _parsed(text: str, key: str) -> Any:
    """Istio takes an object by name and a list alike."""
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise EgressError(
            f"the annotation {key} of the pod template is no JSON", "mend it, and run this again"
        ) from error
    if not isinstance(found, dict) and not (isinstance(found, list) and all(isinstance(one, dict) for one in found)):
        raise EgressError(f"the annotation {key} of the pod template is no JSON object", "mend it, and run this again")
    return found
