"""What the server completes beyond defaults: a Service's address, a Secret's strings, the pods of a Job."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Container
from typing import Any

Object = dict[str, Any]

_SERVICE_NETWORK = (10, 96)


def give_address(service: Object, taken: Container[str | None]) -> None:
    """Give a Service its cluster address, unless it has one; `taken` are those of the others."""
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return
    if not spec.get("clusterIP"):
        first, second = _SERVICE_NETWORK
        free = (f"{first}.{second}.{high}.{low}" for high in range(256) for low in range(10, 255))
        spec["clusterIP"] = next(address for address in free if address not in taken)
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def encode_strings(secret: Object) -> None:
    """stringData becomes data."""
    for key, value in (secret.pop("stringData", None) or {}).items():
        data = secret.get("data") or {}
        secret["data"] = {**data, key: base64.b64encode(value.encode()).decode()}


def select_own_pods(job: Object) -> None:
    """A Job finds its pods by its uid, which it therefore gets here (batch/v1 job strategy, generateSelector)."""
    if job["spec"].get("manualSelector"):
        return
    name = job["metadata"]["name"]
    uid = job["metadata"]["uid"] = str(uuid.uuid4())
    job["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    labels = job["spec"]["template"]["metadata"].setdefault("labels", {})
    labels.update({"batch.kubernetes.io/controller-uid": uid, "controller-uid": uid})
    labels.update({"batch.kubernetes.io/job-name": name, "job-name": name})
