"""Ask sidecars again that did not answer a survey: one that has just started does in a moment, one that goes need not."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kubectl_egress.apply.pods import finished, terminating
from kubectl_egress.apply.waiting import POLL, Say
from kubectl_egress.cluster.proxies import is_running, not_running, pod_ref, read_proxies
from kubectl_egress.cluster.survey import pods_of
from kubectl_egress.model import ProxyUnread, Ref

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster

LONGEST = 10.0
"""Seconds. A sidecar's admin port opens with its process, long before the sidecar is ready."""


def still_unread(
    cluster: Cluster, workloads: Sequence[Ref], unread: Mapping[Ref, ProxyUnread], say: Say
) -> Mapping[Ref, ProxyUnread]:
    """Those of the workloads' unread sidecars, by pod, that do not answer in `LONGEST` seconds either, and why.

    Without pods that are gone, that have been told to go or that have not started. Raises what the lists raise.
    """
    deadline = time.monotonic() + LONGEST
    while unread and time.monotonic() < deadline:
        say(f"waiting for the sidecar of pod {next(iter(unread)).name} to answer")
        time.sleep(POLL)
        pods = [pod for found in pods_of(cluster, workloads).values() for pod in found if pod_ref(pod) in unread]
        staying = [pod for pod in pods if not terminating(pod) and not finished(pod)]
        dead = [one for pod in staying if (one := not_running(pod))]
        said = read_proxies(cluster, [pod for pod in staying if is_running(pod)], ["/server_info"])
        unread = {one.pod: one for one in (*dead, *said.values()) if isinstance(one, ProxyUnread)}
    return unread
