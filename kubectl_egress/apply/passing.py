"""Wait until TLS connections go past the entries that an undo is about to delete."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from kubectl_egress import mesh
from kubectl_egress.apply.pods import finished, terminating
from kubectl_egress.apply.waiting import POLL, Say, patiently
from kubectl_egress.cluster.proxies import has_proxy, pod_ref, read_page
from kubectl_egress.cluster.survey import pods_of
from kubectl_egress.errors import UnreachableError
from kubectl_egress.model import Action, Host, Outcome, Plan, ProxyUnread, Ref, Step
from kubectl_egress.proxy import listeners

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster

LONGEST = 15.0
"""Seconds. What this spares is a reset connection here and there: no undo fails for that."""


def for_passing(step: Step, plan: Plan, cluster: Cluster, timeout: float, say: Say) -> Outcome:
    """Until no proxy of the step's workloads takes TLS connections to a host whose entry goes, or for a while."""
    deadline = time.monotonic() + min(timeout, LONGEST)
    going = dict(_going(plan))
    while True:
        owned = patiently(lambda: pods_of(cluster, step.workloads), deadline, say)
        pods = [pod for found in owned.values() for pod in found if not terminating(pod) and not finished(pod)]
        proxies = [pod_ref(pod) for pod in pods if has_proxy(pod)]
        late = list(_late(cluster, proxies, going))
        if not late:
            return Outcome(step, True)
        if time.monotonic() >= deadline:
            return Outcome(step, True, f"not seen on every proxy in time: {late[0]}")
        say(f"waiting for {len(late)} of {len(proxies)} proxies: {late[0]}")
        time.sleep(POLL)


def _going(plan: Plan) -> Iterator[tuple[Host, tuple[int, ...]]]:
    """The hosts whose entries the plan deletes, with the ports at which they are called over TLS."""
    hosts = {mesh.object_name(host): host for host in plan.hosts}
    for one in plan.steps:
        if one.action is Action.DELETE and one.before and one.ref and one.ref.kind == "ServiceEntry":
            host = hosts.get(one.ref.name)
            yield from [(host, mesh.encrypted_ports(one.before))] if host else ()


def _late(cluster: Cluster, pods: Sequence[Ref], going: Mapping[Host, Sequence[int]]) -> Iterator[str]:
    for pod in pods:
        for port in sorted({port for ports in going.values() for port in ports}):
            page = read_page(cluster, pod, listeners.path(port))
            if isinstance(page, ProxyUnread):
                yield f"{pod.name}: {page.reason}"
                break
            with contextlib.suppress(UnreachableError):  # older pages of errors: nothing is taken there
                yield from (
                    f"{pod.name} still takes TLS connections to {host}"
                    for host, ports in going.items()
                    if port in ports and listeners.takes(page, host)
                )
