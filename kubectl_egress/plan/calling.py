"""Which workloads have been calling a host before it is migrated: for them, silence afterwards is a failure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kubectl_egress.model import CallSite, Host, ProxySnapshot, Ref, Survey, Workload

TLS_PORT = 443


def calling(survey: Survey, sites: Sequence[CallSite], hosts: Collection[Host]) -> frozenset[Ref]:
    """The workloads whose proxies have seen calls to one of `hosts`.

    Under the host's own name; or, where no name was known, by connections to port 443 of hosts without a name, if the
    workload calls no other external host that those could have been for.
    """
    return frozenset(workload.ref for workload in survey.workloads if _has_called(workload, survey, sites, hosts))


def _has_called(workload: Workload, survey: Survey, sites: Sequence[CallSite], hosts: Collection[Host]) -> bool:
    called = {site.server for site in sites if site.workload == workload.ref and site.url.encrypted}
    if not called & set(hosts):
        return False
    names = {host.name for host in hosts}
    alone = called <= set(hosts)
    return any(_seen(said, names, alone) for said in _snapshots(workload, survey))


def _snapshots(workload: Workload, survey: Survey) -> list[ProxySnapshot]:
    refs = [Ref("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in workload.pods]
    return [said for ref in refs if isinstance(said := survey.proxies.get(ref), ProxySnapshot)]


def _seen(said: ProxySnapshot, names: Collection[str], alone: bool) -> bool:
    return any(
        endpoint.connections > 0
        for upstream in said.upstreams
        for endpoint in upstream.endpoints
        if upstream.host in names or (alone and upstream.name == "PassthroughCluster" and endpoint.port == TLS_PORT)
    )
