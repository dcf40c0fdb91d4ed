"""The addresses to which hosts' names are to lead: those that they lead to already, or free ones; each is one host's alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubectl_egress import kinds, mesh
from kubectl_egress.journal import Journal, from_config_map
from kubectl_egress.model import Host, Survey


def alias_addresses(
    hosts: Sequence[Host], survey: Survey, journals: Mapping[Host, Journal]
) -> Mapping[Host, tuple[str, ...]]:
    """By host: an IPv4 address and, where pods have IPv6 or nobody knows, one of that family."""
    taken = set(taken_addresses(survey))
    found = {}
    for host in hosts:
        known = journals.get(host)
        first = (known and known.alias) or known_alias(host, survey) or mesh.alias_address(host, taken)
        taken.add(first)
        found[host] = (first, mesh.alias_address_v6(first)) if _wants_ipv6(survey) else (first,)
    return found


def known_alias(host: Host, survey: Survey) -> str:
    """The address that an entry of the host records, or to which pod templates send it: the journal may be lost, or in Git."""
    for document in survey.mesh_objects:
        names = (document.body.get("spec") or {}).get("hosts") or ()
        near = document.ref.namespace in ("", survey.namespace)  # manifests need not name one
        if (
            document.ref.kind == "ServiceEntry"
            and near
            and host.name in names
            and (known := mesh.alias_of(document.body))
        ):
            return known
    templates = (kinds.pod_template(workload.document.body) or {} for workload in survey.workloads)
    addresses = (address for template in templates for address in mesh.aliases_in(template, host))
    return next((address for address in addresses if ":" not in address), "")


def taken_addresses(survey: Survey) -> frozenset[str]:
    """Every address that a host alias, an entry or a journal of the survey uses already."""
    found = {journal.alias for journal in (from_config_map(doc.body) for doc in survey.journals)}
    for workload in survey.workloads:
        template = kinds.pod_template(workload.document.body) or {}
        found.update(entry.get("ip", "") for entry in (template.get("spec") or {}).get("hostAliases") or ())
    for document in survey.mesh_objects:
        found.update(document.body.get("spec", {}).get("addresses") or ())
    return frozenset(found)


def _wants_ipv6(survey: Survey) -> bool:
    """Whether a resolver of the survey's pods may ask for IPv6: a pod has an address of it, or none has any yet.

    A CronJob and a Deployment of no replicas show none: what their pods will have is not known, and a second line in the
    hosts file of a pod without IPv6 changes nothing for it.
    """
    known = mesh.families(pod for workload in survey.workloads for pod in workload.pods)
    return True in known or (survey.live and not known)
