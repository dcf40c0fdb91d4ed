"""Which workloads have been calling a host before it is migrated: for them, silence afterwards is a failure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from kubectl_egress import kinds
from kubectl_egress.model import CallSite, Host, ProxySnapshot, Ref, Survey, Workload
from kubectl_egress.verify import measure

Calling = tuple[Ref, frozenset[Host]]


def calling(survey: Survey, sites: Sequence[CallSite], hosts: Collection[Host]) -> frozenset[Calling]:
    """The workloads whose proxies have seen calls to one of `hosts`, each with those of which it must have been one.

    Without those whose pods a migration does not replace: of a CronJob, what runs goes on over https, and the next may be far.
    Under the host's own name; or, where no name was known, by connections to the hosts' ports of servers without a name, if
    the workload calls no other external host that those could have been for.
    """
    replaced = [workload for workload in survey.workloads if kinds.rolls(workload.ref.kind)]
    return frozenset(found for workload in replaced for found in _called(workload, survey, sites, hosts))


def baselines(survey: Survey, sites: Sequence[CallSite], hosts: Collection[Host]) -> Mapping[Host, Mapping[str, Any]]:
    """By host: how its callers' calls went until now, for the journal."""
    found = {}
    for host in hosts:
        workloads = [one for one in survey.workloads if any(s.workload == one.ref and s.server == host for s in sites)]
        called = {site.server for site in sites if site.workload in {one.ref for one in workloads}}
        proxies = [said for workload in workloads for said in _snapshots(workload, survey)]
        found[host] = measure(host, proxies, alone=called <= {host})
    return found


def _called(
    workload: Workload, survey: Survey, sites: Sequence[CallSite], hosts: Collection[Host]
) -> Iterator[Calling]:
    called = {site.server for site in sites if site.workload == workload.ref and site.url.encrypted}
    snapshots = _snapshots(workload, survey)
    for host in called & set(hosts):
        if any(_seen(said, host.name, ()) for said in snapshots):
            yield workload.ref, frozenset({host})
    if called and called <= set(hosts) and any(_seen(said, "", [host.port for host in called]) for said in snapshots):
        yield workload.ref, frozenset(called)


def _snapshots(workload: Workload, survey: Survey) -> list[ProxySnapshot]:
    refs = [Ref("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in workload.pods]
    return [said for ref in refs if isinstance(said := survey.proxies.get(ref), ProxySnapshot)]


def _seen(said: ProxySnapshot, name: str, ports: Collection[int]) -> bool:
    """Whether there were connections to a host; without a name, to those ports of hosts that have none in the mesh."""
    return any(
        endpoint.connections > 0
        for upstream in said.upstreams
        for endpoint in upstream.endpoints
        if (upstream.host == name if name else upstream.name == "PassthroughCluster" and endpoint.port in ports)
    )
