"""Wait until every proxy knows a host by name: what `migrate --mode named` brings about, and all of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kubectl_egress.apply.pods import finished, terminating
from kubectl_egress.apply.waiting import expired, patiently
from kubectl_egress.cluster.proxies import read_snapshots
from kubectl_egress.cluster.survey import pods_of
from kubectl_egress.model import Outcome, Plan, ProxyUnread, Step, Visibility
from kubectl_egress.visibility import visibility

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster

_POLL = 0.4


def for_name(step: Step, plan: Plan, cluster: Cluster, timeout: float, say: Callable[[str], None]) -> Outcome:
    """Until the proxies of the step's workloads have a cluster of their own for each host; EgressError if not in time."""
    deadline = time.monotonic() + timeout
    while True:
        owned = patiently(lambda: pods_of(cluster, step.workloads), deadline, say)
        pods = [pod for found in owned.values() for pod in found if not terminating(pod) and not finished(pod)]
        said = read_snapshots(cluster, pods, plan.hosts)
        lacking = [
            f"{ref.name}: {proxy.reason}" if isinstance(proxy, ProxyUnread) else f"{ref.name} does not know {host}"
            for ref, proxy in said.items()
            for host in plan.hosts
            if visibility(host, [proxy], ()) is not Visibility.NAMED
        ]
        if not lacking:
            return Outcome(step, True, f"{len(pods)} {'proxy knows' if len(pods) == 1 else 'proxies know'} the host")
        expired(deadline, f"not every proxy knows the host: {lacking[0]}")
        say(f"waiting for {len(lacking)} of {len(pods)} proxies: {lacking[0]}")
        time.sleep(_POLL)
