"""Taking over a ServiceEntry or DestinationRule that somebody else wrote: whether it fits, and what is added to it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubectl_egress.mesh.objects import (
    ALIAS_ANNOTATION,
    CLEAR_PORT,
    SUBSET,
    TLS_PORT,
    file_directory,
    is_ours,
    tls_settings,
)
from kubectl_egress.model import MANAGED_BY_LABEL, Body, Host, Origination

EVERYWHERE = ("*",)
# What a port's settings replace, not complete (Istio's DestinationRule.trafficPolicy.portLevelSettings).
_POLICIES = ("loadBalancer", "connectionPool", "outlierDetection")


def export_of(body: Body) -> tuple[str, ...]:
    """The namespaces that see the object; without `exportTo`, all of them (the mesh's default, if nobody changed it)."""
    return tuple((body.get("spec") or {}).get("exportTo") or EVERYWHERE)


def fits(existing: Body, host: Host, *, fail_open: bool = False) -> str:
    """Why the object cannot be taken over for a host, in words; empty if it can.

    It can where it lacks nothing but fields that can be added, and says nothing that contradicts ours.
    """
    reasons = {"ServiceEntry": _entry_reasons, "DestinationRule": _rule_reasons}.get(str(existing.get("kind")))
    if reasons is None:
        return "only a ServiceEntry or a DestinationRule can be taken over"
    return next(reasons(existing.get("spec") or {}, host, fail_open), "")


def _entry_reasons(spec: Body, host: Host, fail_open: bool) -> Iterator[str]:
    hosts = list(spec.get("hosts") or ())
    if hosts != [host.name]:
        yield f"it stands for {', '.join(hosts) or 'no host'}, not for this host alone"
    if spec.get("location", "MESH_EXTERNAL") != "MESH_EXTERNAL":
        yield "its location is not MESH_EXTERNAL"
    resolution = "NONE" if host.wildcard else "DNS"
    if spec.get("resolution", "NONE") != resolution:
        yield f"its resolution is {spec.get('resolution', 'NONE')}, not {resolution}"
    if spec.get("workloadSelector"):
        yield "it selects workloads as its endpoints"
    if spec.get("subjectAltNames") not in (None, [], [host.name]):
        yield "it checks other certificate names (subjectAltNames)"
    endpoints = spec.get("endpoints") or []
    if endpoints and (host.wildcard or any(not _is_resolved(endpoint, host, fail_open) for endpoint in endpoints)):
        yield "its endpoints are not what DNS gives for the host"
    yield from _port_reasons(spec, host)


def _is_resolved(endpoint: Body, host: Host, fail_open: bool) -> bool:
    """An endpoint is what DNS gives for the host; without the final dot, the hosts file would hide DNS."""
    allowed = {f"{host.name}."} | ({host.name} if fail_open else set())
    return endpoint.get("address") in allowed and not endpoint.get("ports")


def _port_reasons(spec: Body, host: Host) -> Iterator[str]:
    for port in spec.get("ports") or ():
        number, protocol = port.get("number"), str(port.get("protocol", "")).upper()
        if number == CLEAR_PORT and protocol != "HTTP":
            yield f"its port 80 has protocol {protocol or 'none'}, not HTTP"
        if number in (TLS_PORT, host.port) and protocol not in ("HTTPS", "TLS"):
            yield f"its port {number} has protocol {protocol or 'none'}, not HTTPS"
        wanted = host.port if number == CLEAR_PORT else number
        if number in (CLEAR_PORT, TLS_PORT, host.port) and port.get("targetPort", wanted) != wanted:
            yield f"its port {number} goes to port {port['targetPort']} of the server"


def _rule_reasons(spec: Body, host: Host, fail_open: bool) -> Iterator[str]:
    if spec.get("host") != host.name:
        yield f"it stands for {spec.get('host') or 'no host'}"
    if spec.get("workloadSelector"):
        yield "it holds for some workloads only (workloadSelector)"
    yield from _policy_reasons(spec.get("trafficPolicy") or {}, host)
    for subset in spec.get("subsets") or ():
        if subset.get("name") == SUBSET:
            if subset.get("labels"):
                yield f"its subset {SUBSET} has labels"
            yield from _other_tls(
                (subset.get("trafficPolicy") or {}).get("tls") or {},
                host,
                f"its subset {SUBSET} has in its TLS settings",
            )
            yield from _policy_reasons(subset.get("trafficPolicy") or {}, host)


def _policy_reasons(policy: Body, host: Host) -> Iterator[str]:
    if policy.get("proxyProtocol") or policy.get("tunnel"):
        yield "it sends the traffic through a tunnel or with the PROXY protocol"
    settings = _port_settings(policy)
    if settings is None:
        return
    yield from _other_tls(settings.get("tls") or {}, host, "its TLS settings of port 80 have")


def _other_tls(found: Body, host: Host, where: str) -> Iterator[str]:
    """What TLS settings say that ours do not; ours may name a CA and a client certificate that the sidecar reads."""
    read = [str(value).startswith(f"{file_directory(host)}/") for value in found.values()]
    wanted = tls_settings(host)
    if any(read):
        secret = found.get("mode") == "MUTUAL"
        ca = found.get("caCertificates") != "system"
        wanted = tls_settings(host, Origination(ca="x" if ca else "", client_secret="x" if secret else ""))
    for field, value in found.items():
        if field not in wanted:
            yield f"{where} {field}"
        elif value != wanted[field]:
            yield f"{where} another {field}: {_words(value)}"


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _port_settings(policy: Body) -> Body | None:
    settings = policy.get("portLevelSettings") or ()
    return next((one for one in settings if (one.get("port") or {}).get("number") == CLEAR_PORT), None)


# ---- adding ---------------------------------------------------------------------------------------------------------


def adopt(existing: Body, wanted: Body) -> Body:
    """The existing object with what it lacks of the wanted one, field by field; for one that `fits`, and for our own.

    What stands there stays: name, labels, other ports and subsets. Only `exportTo` of a DestinationRule may become wider,
    since a rule has to be seen by whoever sees the entry. `app.kubernetes.io/managed-by` is not added: the object
    stays its owner's. In an object of our own, what says something else is put right too: a TLS setting that was taken
    out must not stay out. Adopting twice changes nothing.
    """
    if is_ours(existing):
        parts = {"metadata": {k: v for k, v in wanted["metadata"].items() if k not in ("name", "namespace")}}
        return _restored(existing, {**parts, "spec": wanted["spec"]})  # type: ignore[no-any-return]
    result: dict[str, Any] = copy.deepcopy(dict(existing))
    _add_metadata(result, wanted)
    spec = result.setdefault("spec", {})
    if wanted["kind"] == "ServiceEntry":
        _complete_entry(spec, wanted)
    else:
        _complete_rule(spec, wanted["spec"], export_of(wanted))
    return result


def _restored(existing: Any, wanted: Any) -> Any:
    """`existing` with all that `wanted` says; what only `existing` says stays."""
    if isinstance(existing, Mapping) and isinstance(wanted, Mapping):
        changed = {key: _restored(existing.get(key), value) for key, value in wanted.items()}
        return {**copy.deepcopy(dict(existing)), **changed}
    if isinstance(existing, list) and isinstance(wanted, list) and all(isinstance(one, Mapping) for one in wanted):
        keys = [_key(one) for one in wanted]
        first = [
            _restored(next((old for old in existing if _key(old) == key), None), new)
            for key, new in zip(keys, wanted, strict=True)
        ]
        return first + [copy.deepcopy(old) for old in existing if None not in keys and _key(old) not in keys]
    return copy.deepcopy(wanted)


def _key(item: Any) -> Any:
    """What tells an item of a list from the others: a port's number, a port-level setting's, or a name."""
    if not isinstance(item, Mapping):
        return None
    port = item.get("port")
    return item.get("number") or (port.get("number") if isinstance(port, Mapping) else None) or item.get("name")


def _add_metadata(result: dict[str, Any], wanted: Body) -> None:
    metadata = result.setdefault("metadata", {})
    for field in ("labels", "annotations"):
        for key, value in (wanted["metadata"].get(field) or {}).items():
            if key != MANAGED_BY_LABEL and key not in (metadata.get(field) or {}):
                metadata[field] = {**(metadata.get(field) or {}), key: value}


def _add_missing(target: dict[str, Any], wanted: Body, *, but: Sequence[str] = ()) -> None:
    for field, value in wanted.items():
        if field not in target and field not in but:
            target[field] = copy.deepcopy(value)


def _complete_entry(spec: dict[str, Any], wanted: Body) -> None:
    _add_missing(spec, wanted["spec"], but=("exportTo", "ports", "addresses", "endpoints"))
    ports = spec["ports"] = list(spec.get("ports") or ())
    for port in wanted["spec"]["ports"]:
        present = next((one for one in ports if one.get("number") == port["number"]), None)
        if present is None:
            ports.append({**port, "name": _free_name(port["name"], ports)})
        else:
            _add_missing(present, port)
    if wanted["spec"].get("endpoints") and not spec.get("endpoints"):
        spec["endpoints"] = copy.deepcopy(wanted["spec"]["endpoints"])
    alias = (wanted["metadata"].get("annotations") or {}).get(ALIAS_ANNOTATION)
    addresses = list(spec.get("addresses") or ())
    # An entry with addresses listens there alone: `https://` from an aliased pod goes to the alias.
    claims = wanted["spec"].get("addresses") or ([alias] if alias and addresses else [])
    if claims:
        spec["addresses"] = list(dict.fromkeys((*addresses, *claims)))


def _free_name(name: str, ports: Sequence[Body]) -> str:
    """A port name that no other port has; it stays of the form that says the protocol."""
    taken = {port.get("name") for port in ports}
    return (
        name
        if name not in taken
        else next(n for i in range(len(taken) + 1) if (n := f"{name}-egress{i or ''}") not in taken)
    )


def _complete_rule(spec: dict[str, Any], wanted: Body, export_to: tuple[str, ...]) -> None:
    if "exportTo" in spec or export_to != EVERYWHERE:
        widened = _widened(tuple(spec.get("exportTo") or EVERYWHERE), export_to)
        if spec.get("exportTo") or widened != EVERYWHERE:
            spec["exportTo"] = list(widened)
    top = spec["trafficPolicy"] = dict(spec.get("trafficPolicy") or {})
    _complete_policy(top, top, wanted["trafficPolicy"])
    subsets = spec["subsets"] = list(spec.get("subsets") or ())
    subset = next((one for one in subsets if one.get("name") == SUBSET), None)
    if subset is None:
        subset = {"name": SUBSET}
        subsets.append(subset)
    policy = subset["trafficPolicy"] = dict(subset.get("trafficPolicy") or {})
    _complete_policy(policy, top, wanted["trafficPolicy"])


def _widened(present: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Both together; Istio refuses `*` beside anything else."""
    together = tuple(dict.fromkeys((*(one for one in present if one != "~"), *(one for one in wanted if one != "~"))))
    return EVERYWHERE if "*" in together else together or present


def _complete_policy(policy: dict[str, Any], top: Mapping[str, Any], wanted: Body) -> None:
    """Add the TLS settings of port 80. A port's settings replace the rule's: what held for the port goes on holding."""
    settings = policy["portLevelSettings"] = list(policy.get("portLevelSettings") or ())
    present = _port_settings(policy)
    if present is None:
        inherited = {field: copy.deepcopy(top[field]) for field in _POLICIES if field in top}
        above = _port_settings(top)
        if policy is not top and above is not None:
            inherited = {field: copy.deepcopy(value) for field, value in above.items() if field in _POLICIES}
        settings.append({**inherited, **copy.deepcopy(wanted["portLevelSettings"][0])})
        return
    completed = {
        **copy.deepcopy({k: v for k, v in wanted["portLevelSettings"][0].items() if k not in present}),
        **present,
    }
    completed["tls"] = {**wanted["portLevelSettings"][0]["tls"], **(present.get("tls") or {})}
    settings[settings.index(present)] = completed
