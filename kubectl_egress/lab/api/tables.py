"""`kubectl get`: objects as rows of a meta.k8s.io/v1 Table, with the real server's columns (printers/internalversion)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kubectl_egress.lab.api.pod_status import pod_status
from kubectl_egress.lab.api.resources import Resource

Body = Mapping[str, Any]
Cell = str | int | bool
Row = Sequence[Cell]

_NONE = "<none>"


def table(
    resource: Resource,
    bodies: Iterable[Body],
    metadata: Mapping[str, Any],
    include: str = "Metadata",
    *,
    now: datetime | None = None,
    headed: bool = True,
) -> dict[str, Any]:
    """The Table of objects of one resource; `include` is what each row carries: Metadata, Object or None."""
    moment = now or datetime.now(UTC)
    columns, cells = _TABLES.get(resource.kind, (_PLAIN, _plain))
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(metadata),
        "columnDefinitions": [_column(text) for text in columns.split()] if headed else [],
        "rows": [{"cells": list(cells(body, moment)), "object": _carried(body, include)} for body in bodies],
    }


def partial(body: Body, kind: str = "PartialObjectMetadata") -> dict[str, Any]:
    """The object's metadata alone."""
    return {"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"]}


def _carried(body: Body, include: str) -> Any:
    return {"Metadata": partial(body), "Object": body}.get(include)


def _column(text: str) -> dict[str, Any]:
    """`Nominated_Node+` is a column of `-o wide`; `Ready#` is a number."""
    wide, number = text.endswith("+"), text.rstrip("+").endswith("#")
    name = text.rstrip("+#").replace("_", " ")
    kind = "integer" if number else "string"
    form = "name" if name == "Name" else ""
    return {"name": name, "type": kind, "format": form, "description": "", "priority": int(wide)}


def duration(seconds: float) -> str:
    """`95s`, `3m20s`, `5d1h`: apimachinery/pkg/util/duration HumanDuration."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if hours < 2 * 365 * 24:
        return f"{days}d"
    years, rest = divmod(days, 365)
    return f"{years}y{rest}d" if years < 8 and rest else f"{years}y"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _since(text: str | None, now: datetime) -> str:
    return duration((now - _moment(text)).total_seconds()) if text else "<unknown>"


def _age(body: Body, now: datetime) -> str:
    return _since(body["metadata"].get("creationTimestamp"), now)


def _name(body: Body) -> str:
    return str(body["metadata"]["name"])


def _status(body: Body) -> Body:
    status: Body = body.get("status") or {}
    return status


def _images(body: Body) -> tuple[str, str]:
    listed = body["spec"]["template"]["spec"]["containers"]
    return ",".join(item["name"] for item in listed), ",".join(item["image"] for item in listed)


def selector_text(selector: Body | None) -> str:
    """`app=web,tier in (a,b)`."""
    if not selector:
        return _NONE
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for part in selector.get("matchExpressions") or []:
        parts.append(f"{part['key']} {part['operator'].lower()} ({','.join(part.get('values') or [])})")
    return ",".join(parts)


# ---- pods -----------------------------------------------------------------------------------------------------------


def _pod(body: Body, now: datetime) -> Row:
    spec, status = body["spec"], _status(body)
    states = status.get("containerStatuses") or []
    sidecars = {item["name"] for item in spec.get("initContainers") or [] if item.get("restartPolicy") == "Always"}
    starting = status.get("initContainerStatuses") or []
    total = len(spec["containers"]) + len(sidecars)
    counted = [*states, *(item for item in starting if item["name"] in sidecars)]
    ready = sum(bool(item.get("ready")) for item in counted)
    restarts = sum(item.get("restartCount", 0) for item in counted)
    gates = _NONE
    where = (status.get("podIP") or _NONE, spec.get("nodeName") or _NONE, _NONE, gates)
    return (_name(body), f"{ready}/{total}", pod_status(body), str(restarts), _age(body, now), *where)


# ---- workloads ------------------------------------------------------------------------------------------------------


def _deployment(body: Body, now: datetime) -> Row:
    spec, status = body["spec"], _status(body)
    ready = f"{status.get('readyReplicas', 0)}/{spec['replicas']}"
    counts = (status.get("updatedReplicas", 0), status.get("availableReplicas", 0))
    return (_name(body), ready, *counts, _age(body, now), *_images(body), selector_text(spec["selector"]))


def _replica_set(body: Body, now: datetime) -> Row:
    spec, status = body["spec"], _status(body)
    counts = (spec["replicas"], status.get("replicas", 0), status.get("readyReplicas", 0))
    return (_name(body), *counts, _age(body, now), *_images(body), selector_text(spec["selector"]))


def _stateful_set(body: Body, now: datetime) -> Row:
    ready = f"{_status(body).get('readyReplicas', 0)}/{body['spec']['replicas']}"
    return (_name(body), ready, _age(body, now), *_images(body))


def _daemon_set(body: Body, now: datetime) -> Row:
    status = _status(body)
    fields = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    nodes = selector_text({"matchLabels": body["spec"]["template"]["spec"].get("nodeSelector") or {}}) or _NONE
    counts = (status.get(field, 0) for field in fields)
    return (_name(body), *counts, nodes, _age(body, now), *_images(body), selector_text(body["spec"]["selector"]))


def _job(body: Body, now: datetime) -> Row:
    spec, status = body["spec"], _status(body)
    conditions = {item["type"] for item in status.get("conditions") or [] if item["status"] == "True"}
    named = {"Complete": "Complete", "Failed": "Failed", "Suspended": "Suspended"}
    state = next((text for condition, text in named.items() if condition in conditions), "Running")
    wanted = spec.get("completions")
    goal = str(wanted) if wanted is not None else f"1 of {spec['parallelism']}"
    completions = f"{status.get('succeeded', 0)}/{goal}"
    took = ""
    if start := status.get("startTime"):
        end = status.get("completionTime")
        took = duration(((_moment(end) if end else now) - _moment(start)).total_seconds())
    return (_name(body), state, completions, took, _age(body, now), *_images(body), selector_text(spec.get("selector")))


def _cron_job(body: Body, now: datetime) -> Row:
    spec, status = body["spec"], _status(body)
    last = status.get("lastScheduleTime")
    zone, active = spec.get("timeZone") or _NONE, len(status.get("active") or [])
    names, images = _images(spec["jobTemplate"])
    seen = _since(last, now) if last else _NONE
    return (_name(body), spec["schedule"], zone, str(spec["suspend"]), active, seen, _age(body, now), names, images)


# ---- the rest -------------------------------------------------------------------------------------------------------


def _plain(body: Body, now: datetime) -> Row:
    return (_name(body), _age(body, now))


def _counted(body: Body, now: datetime) -> Row:
    return (_name(body), len(body.get("data") or {}) + len(body.get("binaryData") or {}), _age(body, now))


def _secret(body: Body, now: datetime) -> Row:
    return (_name(body), body.get("type", ""), len(body.get("data") or {}), _age(body, now))


def _account(body: Body, now: datetime) -> Row:
    return (_name(body), len(body.get("secrets") or []), _age(body, now))


def _service(body: Body, now: datetime) -> Row:
    spec = body["spec"]
    external = spec.get("externalName") if spec["type"] == "ExternalName" else ",".join(spec.get("externalIPs") or [])
    ports = ",".join(f"{port['port']}/{port['protocol']}" for port in spec.get("ports") or []) or _NONE
    selector = selector_text({"matchLabels": spec["selector"]}) if spec.get("selector") else _NONE
    address = spec.get("clusterIP") or _NONE
    return (_name(body), spec["type"], address, external or _NONE, ports, _age(body, now), selector)


def _namespace(body: Body, now: datetime) -> Row:
    return (_name(body), _status(body).get("phase", "Active"), _age(body, now))


def _network_policy(body: Body, now: datetime) -> Row:
    return (_name(body), selector_text(body["spec"].get("podSelector")), _age(body, now))


def _node(body: Body, now: datetime) -> Row:
    status = _status(body)
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions") or [])
    address = next((item["address"] for item in status.get("addresses") or []), _NONE)
    info = status.get("nodeInfo") or {}
    texts = ("osImage", "kernelVersion", "containerRuntimeVersion")
    wide = (address, _NONE, *(info.get(field) or "<unknown>" for field in texts))
    state = "Ready" if ready else "NotReady"
    return (_name(body), state, _NONE, _age(body, now), info.get("kubeletVersion", ""), *wide)


def _event(body: Body, now: datetime) -> Row:
    involved = body.get("involvedObject") or {}
    seen = _since(body.get("lastTimestamp") or body["metadata"].get("creationTimestamp"), now)
    target = f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"
    return (
        seen,
        body.get("type", ""),
        body.get("reason", ""),
        target,
        str(body.get("message", "")).strip(),
        _name(body),
    )


def _listed(values: Sequence[str] | None) -> str:
    """A list as the CRD printer shows it."""
    quoted = ",".join(f'"{value}"' for value in values or [])
    return f"[{quoted}]" if values else ""


def _service_entry(body: Body, now: datetime) -> Row:
    spec = body.get("spec") or {}
    shown = (_listed(spec.get("hosts")), spec.get("location", ""), spec.get("resolution", ""))
    return (_name(body), *shown, _age(body, now))


def _destination_rule(body: Body, now: datetime) -> Row:
    return (_name(body), (body.get("spec") or {}).get("host", ""), _age(body, now))


def _virtual_service(body: Body, now: datetime) -> Row:
    spec = body.get("spec") or {}
    return (_name(body), _listed(spec.get("gateways")), _listed(spec.get("hosts")), _age(body, now))


_PLAIN = "Name Age"
_TABLES: dict[str, tuple[str, Callable[[Body, datetime], Row]]] = {
    "Pod": ("Name Ready Status Restarts Age IP+ Node+ Nominated_Node+ Readiness_Gates+", _pod),
    "Deployment": ("Name Ready Up-to-date# Available# Age Containers+ Images+ Selector+", _deployment),
    "ReplicaSet": ("Name Desired# Current# Ready# Age Containers+ Images+ Selector+", _replica_set),
    "StatefulSet": ("Name Ready Age Containers+ Images+", _stateful_set),
    "DaemonSet": (
        "Name Desired# Current# Ready# Up-to-date# Available# Node_Selector Age Containers+ Images+ Selector+",
        _daemon_set,
    ),
    "Job": ("Name Status Completions Duration Age Containers+ Images+ Selector+", _job),
    "CronJob": ("Name Schedule Timezone Suspend Active# Last_Schedule Age Containers+ Images+", _cron_job),
    "ConfigMap": ("Name Data# Age", _counted),
    "Secret": ("Name Type Data# Age", _secret),
    "ServiceAccount": ("Name Secrets# Age", _account),
    "Service": ("Name Type Cluster-IP External-IP Port(s) Age Selector+", _service),
    "Namespace": ("Name Status Age", _namespace),
    "NetworkPolicy": ("Name Pod-Selector Age", _network_policy),
    "Node": (
        "Name Status Roles Age Version Internal-IP+ External-IP+ OS-Image+ Kernel-Version+ Container-Runtime+",
        _node,
    ),
    "Event": ("Last_Seen Type Reason Object Message Name+", _event),
    "ServiceEntry": ("Name Hosts Location Resolution Age", _service_entry),
    "DestinationRule": ("Name Host Age", _destination_rule),
    "VirtualService": ("Name Gateways Hosts Age", _virtual_service),
}
