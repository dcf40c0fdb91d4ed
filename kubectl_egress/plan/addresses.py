"""The addresses to which hosts' names are to lead: the journals' own, or free ones; an address is one host's alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubectl_egress import kinds, mesh
from kubectl_egress.journal import Journal, from_config_map
from kubectl_egress.model import Host, Survey


def alias_addresses(
    hosts: Sequence[Host], survey: Survey, journals: Mapping[Host, Journal]
) -> Mapping[Host, tuple[str, ...]]:
    """By host: an IPv4 address and, where pods have IPv6, one of that family."""
    taken = set(taken_addresses(survey))
    found = {}
    for host in hosts:
        known = journals.get(host)
        first = (known and known.alias) or mesh.alias_address(host, taken)
        taken.add(first)
        found[host] = (first, mesh.alias_address_v6(first)) if has_ipv6(survey) else (first,)
    return found


def taken_addresses(survey: Survey) -> frozenset[str]:
    """Every address that a host alias, an entry or a journal of the survey uses already."""
    found = {journal.alias for journal in (from_config_map(doc.body) for doc in survey.journals)}
    for workload in survey.workloads:
        template = kinds.pod_template(workload.document.body) or {}
        found.update(entry.get("ip", "") for entry in (template.get("spec") or {}).get("hostAliases") or ())
    for document in survey.mesh_objects:
        found.update(document.body.get("spec", {}).get("addresses") or ())
    return frozenset(found)


def has_ipv6(survey: Survey) -> bool:
    """Whether a pod of the survey has an IPv6 address: its resolver then needs an alias for that family too."""
    return any(
        ":" in entry.get("ip", "")
        for workload in survey.workloads
        for pod in workload.pods
        for entry in pod.get("status", {}).get("podIPs") or ()
    )
