"""Wait until what a step promises can be seen: on every proxy, in every istiod, in every new pod."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from kubectl_egress import kinds, mesh
from kubectl_egress.apply import standing
from kubectl_egress.apply.pods import finished, terminating
from kubectl_egress.cluster.proxies import get_pod_port, read_page, read_snapshots
from kubectl_egress.cluster.rollout import wait_rollout
from kubectl_egress.cluster.survey import pods_of
from kubectl_egress.errors import ApiError, EgressError, UnreachableError
from kubectl_egress.journal import from_config_map, is_journal
from kubectl_egress.model import Action, Host, Origination, Outcome, Plan, ProxyUnread, Ref, Step
from kubectl_egress.proxy import secrets
from kubectl_egress.verify import Expected, configured

if TYPE_CHECKING:
    from kubectl_egress.cluster import Cluster

Say = Callable[[str], None]
Found = TypeVar("Found")

PAUSE = 1.0
"""Seconds before an API server that is away is asked again."""
POLL = 0.4
"""Seconds between two looks; a change takes about a second to reach a proxy (measured)."""
ISTIOD_GRACE = 5.0
"""Seconds to wait for an istiod that may not be asked."""
ISTIOD_ATTEMPTS = 4
RESOLVING = 20.0
"""Seconds after which a name without an address has none."""
UNRESOLVED = "has no address yet"
MESH_KINDS = ("DestinationRule", "ServiceEntry", "VirtualService")
DEBUG_PORT = 15014


def for_rollout(step: Step, plan: Plan, cluster: Cluster, timeout: float, say: Say) -> Outcome:
    """Until the workload's pods all have the new template; EgressError when they will not, or not in time.

    Also where the template, or a pod of it, has not what was written: a controller takes changes back, admission drops them.
    """
    assert step.ref is not None, "a rollout is one workload's"
    ref = step.ref
    deadline = time.monotonic() + timeout
    # The last of them before this wait: with files for sidecars, a workload is patched twice.
    patches = [one for one in plan.steps if one.action is Action.PATCH and one.ref == ref and one.order < step.order]
    patch = patches[-1] if patches else step
    wait_rollout(cluster, ref, timeout=timeout, progress=say, stale=kinds.deadline_passed(patch.before or {}))
    standing.refuse_taken_back(patch, patiently(lambda: cluster.get(ref), deadline, say))
    pods = patiently(lambda: pods_of(cluster, [ref])[ref], deadline, say)
    standing.refuse_unaliased(patch, (pod for pod in pods if not terminating(pod) and not finished(pod)))
    return Outcome(step, True)


def for_proxies(step: Step, plan: Plan, cluster: Cluster, timeout: float, say: Say) -> Outcome:
    """Until every running proxy of the targets originates TLS for every host, and every istiod knows the objects.

    EgressError with the pod and what it lacks when that does not come about in time.
    """
    started = time.monotonic()
    deadline = started + timeout
    files = _files(plan)
    while True:
        count, lacking = patiently(lambda: _proxies_lacking(cluster, step.workloads, plan.hosts, files), deadline, say)
        if not lacking:
            break
        if all(reason.endswith(UNRESOLVED) for reason in lacking) and time.monotonic() > started + RESOLVING:
            raise EgressError(
                f"no address for {_names(plan.hosts)} in {RESOLVING:.0f} s: {lacking[0]}",
                "check that the name is right, and that the cluster's DNS knows it",
            )
        expired(deadline, f"not every proxy originates TLS for {_names(plan.hosts)}: {lacking[0]}")
        say(f"waiting for {len(lacking)} of {count} proxies: {lacking[0]}")
        time.sleep(POLL)
    note = _istiods(step, plan, cluster, deadline, say)
    return Outcome(step, True, f"{count} {'proxy originates' if count == 1 else 'proxies originate'} TLS; {note}")


def _files(plan: Plan) -> Mapping[Host, Origination]:
    """The hosts for which the sidecars have to read files, as the migration's journals say it."""
    journals = (from_config_map(step.after) for step in plan.steps if step.after and is_journal(step.after))
    return {one.host: one.origination for one in journals if mesh.needs_files(one.origination)}


def _proxies_lacking(
    cluster: Cluster, workloads: Sequence[Ref], hosts: Sequence[Host], files: Mapping[Host, Origination]
) -> tuple[int, list[str]]:
    pods = [
        pod
        for found in pods_of(cluster, workloads).values()
        for pod in found
        if not terminating(pod) and not finished(pod)
    ]
    lacking = []
    for ref, said in read_snapshots(cluster, pods, hosts).items():
        if isinstance(said, ProxyUnread):
            lacking.append(f"{ref.name}: {said.reason}")
            continue
        for host in hosts:
            wanted = Expected.of(host, subset=mesh.SUBSET)
            if host in files and files[host].ca:
                wanted = replace(wanted, authorities=(f"file-root:{mesh.file_directory(host)}/ca.crt",))
            ready, _, reason = configured(host, said, wanted)
            lacking += [] if ready else [f"{ref.name}: {reason}"]
        if files:
            lacking += [f"{ref.name}: {reason}" for reason in _unread(cluster, ref, files)]
    return len(pods), lacking


def _unread(cluster: Cluster, pod: Ref, files: Mapping[Host, Origination]) -> Iterator[str]:
    """Files of the hosts that a sidecar has not read, whatever its clusters say."""
    page = read_page(cluster, pod, secrets.PATH)
    if isinstance(page, ProxyUnread):
        yield page.reason
        return
    for name in secrets.awaited(page):
        if any(f":{mesh.file_directory(host)}/" in name for host in files):
            yield f"the sidecar cannot read {name.partition(':')[2].partition('~')[0]}"


def _istiods(step: Step, plan: Plan, cluster: Cluster, deadline: float, say: Say) -> str:
    """Every istiod replica knows the objects, since it may configure the next new pod; in words, what was seen."""
    wanted = {
        ref: patiently(partial(_version, cluster, ref), deadline, say) for ref in dict.fromkeys(_mesh_objects(plan))
    }
    if not wanted:
        return "nothing new for istiod"
    attempts = 0
    while True:
        try:
            replicas = list(_replicas(cluster))
            late = [name for name, known in replicas_know(cluster, replicas) if not _all_known(wanted, known)]
        except (ApiError, UnreachableError) as error:
            attempts += 1
            if error.passing and attempts < ISTIOD_ATTEMPTS:  # one that ends has a successor
                time.sleep(PAUSE)
                continue
            say(f"istiod cannot be asked what it knows ({error.message}); waiting {ISTIOD_GRACE:.0f} s instead")
            time.sleep(ISTIOD_GRACE)
            return f"istiod could not be asked, so {ISTIOD_GRACE:.0f} s were waited"
        if not late:
            break
        expired(deadline, f"istiod {late[0]} does not know the objects yet")
        say(f"waiting for istiod {late[0]} to know the objects")
        time.sleep(POLL)
    if not replicas:
        say(f"no istiod pod was found to ask; waiting {ISTIOD_GRACE:.0f} s instead")
        time.sleep(ISTIOD_GRACE)
        return f"no istiod was found to ask, so {ISTIOD_GRACE:.0f} s were waited"
    return f"{len(replicas)} istiod {'knows' if len(replicas) == 1 else 'know'} the objects"


def _version(cluster: Cluster, ref: Ref) -> str:
    return str(cluster.get(ref)["metadata"].get("resourceVersion", ""))


def _mesh_objects(plan: Plan) -> Iterator[Ref]:
    """What the plan writes, and what an earlier run wrote that was cut short: the journals of the plan name both."""
    for step in plan.steps:
        if step.ref is None or step.after is None:
            continue
        if step.ref.kind in MESH_KINDS:
            yield step.ref
        elif is_journal(step.after):
            # a short name's Service is none of istiod's objects
            yield from (one.ref for one in from_config_map(step.after).mesh if one.ref.kind in MESH_KINDS)


def _replicas(cluster: Cluster) -> Iterator[Ref]:
    for pod in cluster.list("v1", "pods", None, label_selector="app=istiod"):
        if not terminating(pod) and pod.get("status", {}).get("phase") == "Running":
            yield Ref("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"], "v1")


def replicas_know(cluster: Cluster, replicas: Sequence[Ref]) -> Iterator[tuple[str, Mapping[Ref, str]]]:
    """By replica's name: the objects that it knows with their resourceVersion (`/debug/configz`).

    ApiError or UnreachableError when one may not or cannot be asked.
    """
    for replica in replicas:
        yield replica.name, known_objects(get_pod_port(cluster, replica, DEBUG_PORT, "/debug/configz"))


def known_objects(text: str) -> Mapping[Ref, str]:
    """What `/debug/configz` says, a JSON list of objects: their resourceVersion by object."""
    try:
        listed: Any = json.loads(text)
    except ValueError as error:
        raise UnreachableError(f"istiod's /debug/configz is not JSON: {error}") from error
    return {
        Ref(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): str(
            one["metadata"].get("resourceVersion", "")
        )
        for one in listed or ()
        if isinstance(one, Mapping) and one.get("kind") in MESH_KINDS
    }


def _all_known(wanted: Mapping[Ref, str], known: Mapping[Ref, str]) -> bool:
    return all(ref in known and _as_new(known[ref], version) for ref, version in wanted.items())


def _as_new(known: str, wanted: str) -> bool:
    """resourceVersions of one object are compared as numbers where they are (Kubernetes 1.35 says that they are)."""
    if known.isdigit() and wanted.isdigit():
        return int(known) >= int(wanted)
    return known == wanted


def patiently(ask: Callable[[], Found], deadline: float, say: Say) -> Found:
    """What the API server says; where it is away or busy, as soon as it is back, at latest at the deadline."""
    while True:
        try:
            return ask()
        except EgressError as error:
            if not error.passing or time.monotonic() >= deadline:
                raise
            say(f"asking again: {error.message}")
        time.sleep(PAUSE)


LOOK_AT_PROXIES = "see `kubectl egress inspect -o wide`"


def expired(deadline: float, message: str, remedy: str = LOOK_AT_PROXIES) -> None:
    """EgressError with `message` once the deadline has passed."""
    if time.monotonic() >= deadline:
        raise EgressError(message, f"{remedy}, or give it more time with --timeout")


def _names(hosts: Sequence[Host]) -> str:
    return ", ".join(map(str, hosts))
