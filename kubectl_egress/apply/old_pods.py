"""Wait until no pod is left that needs what an undo is about to take away."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from kubectl_egress import mesh, scan
from kubectl_egress.apply.pods import finished
from kubectl_egress.apply.waiting import POLL, Say, expired, patiently
from kubectl_egress.cluster import owners
from kubectl_egress.cluster.survey import pods_of
from kubectl_egress.errors import NotFoundError
from kubectl_egress.journal import Journal, ReferenceRecord, from_config_map, is_journal, journal_name
from kubectl_egress.model import SOURCE_KINDS, Action, Body, Outcome, Plan, Ref, Step

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster


def for_old_pods(step: Step, plan: Plan, cluster: Cluster, timeout: float, say: Say) -> Outcome:
    """Until no pod of the namespace is left that was made from a migrated template; EgressError when that takes too long.

    Of hosts that the plan ends for good, also pods that are none of the callers': a Job made by hand from a CronJob, a
    copied Deployment.
    """
    deadline = time.monotonic() + timeout
    undone = {host.name for host in plan.hosts}
    deleted = (one.before for one in plan.steps if one.action is Action.DELETE)
    ended = {from_config_map(body).host.name for body in deleted if body is not None and is_journal(body)}
    gone = [one.ref for one in plan.steps if one.action is Action.DELETE and one.ref]
    copies = {(ref.kind, ref.name) for ref in gone if ref.kind in SOURCE_KINDS}
    journals = patiently(lambda: list(_journals(cluster, plan)), deadline, say)
    plain = {(caller.workload, one.host): caller.plain for one in journals for caller in one.callers}
    # one that is not deleted may have been read all the same: its label is gone, or it is gone itself
    copies |= {(one.kind, one.copy) for one in _references(journals, ended)}

    def old_pods() -> list[tuple[str, str, str]]:
        owned = pods_of(cluster, step.workloads)
        callers = {pod["metadata"]["uid"]: ref for ref, pods in owned.items() for pod in pods}
        left = []
        for pod in cluster.list("v1", "pods", plan.namespace):
            caller = callers.get(pod["metadata"]["uid"])
            if finished(pod) or not (
                needs_proxy(pod, ended, copies)
                or (caller is not None and needs_proxy(pod, undone, copies))
                or any(scan.plain_urls(pod, host) > plain.get((caller, host), 0) for host in plan.hosts if caller)
            ):
                continue
            maker, maker_name = owners.controller(pod)
            kind, name = (caller.kind, caller.name) if caller else (maker, maker_name)
            of = f" of {kind.lower()}/{name}" if kind else ""
            pod_name = pod["metadata"]["name"]
            # A Job makes another pod in place of one that is deleted.
            ends = f"job {maker_name}" if maker == "Job" else f"pod {pod_name}"
            left.append((f"{pod_name}{of}", pod_name, ends))
        return left

    while left := patiently(old_pods, deadline, say):
        first, name, ends = left[0]
        remedy = f"kubectl describe pod {name} -n {plan.namespace} shows what keeps it, kubectl delete {ends} -n {plan.namespace} ends it"
        expired(deadline, f"pod {first} still calls http://, and is not gone", remedy)
        say(f"waiting for {len(left)} old pod{'' if len(left) == 1 else 's'} to end: {left[0][1]}")
        time.sleep(POLL)
    return Outcome(step, True)


def _journals(cluster: Cluster, plan: Plan) -> Iterator[Journal]:
    """Of the plan's hosts: they are there until the end."""
    for host in plan.hosts:
        with contextlib.suppress(NotFoundError):
            yield from_config_map(cluster.get(Ref("ConfigMap", plan.namespace, journal_name(host), "v1")))


def _references(journals: Iterable[Journal], hosts: Collection[str]) -> Iterator[ReferenceRecord]:
    """What the callers of these hosts were pointed at."""
    for journal in journals:
        for caller in journal.callers if journal.host.name in hosts else ():
            yield from caller.references


def needs_proxy(pod: Body, names: set[str], copies: set[tuple[str, str]]) -> bool:
    """Whether the pod was made from a migrated template: it has a host's alias, or reads one of our copies."""
    spec = pod.get("spec") or {}
    for entry in spec.get("hostAliases") or ():
        if names & set(entry.get("hostnames") or ()) and mesh.is_alias_address(entry.get("ip", "")):
            return True
    return any((kind, name) in copies for _, kind, name in scan.source_references({"spec": spec}))
