"""Wait until the pods of a workload have its template, and until others are gone, by watch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from kubectl_egress import kinds
from kubectl_egress.cluster.cluster import Cluster
from kubectl_egress.cluster.redaction import redacted
from kubectl_egress.cluster.resources import ApiResource
from kubectl_egress.errors import ApiError, EgressError, ForbiddenError, NotFoundError, UnreachableError
from kubectl_egress.model import Body, Ref

# Between two looks at the pods of a rollout that makes no progress.
_LOOK = 2.0
_PODS_LOOK = 1.0
# A container that fails once may have been too early for its sidecar; one that fails this often will go on failing.
_RESTARTS = 2
_IMAGE_TROUBLE = frozenset({"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_START_TROUBLE = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


def wait_rollout(
    cluster: Cluster, ref: Ref, *, timeout: float, progress: Callable[[str], None], stale: str = ""
) -> None:
    """Wait until every pod of the workload has its template as it is now, as `kubectl rollout status` does.

    `progress` gets each new line of kubectl's. `stale`: when the deadline of the template before had passed, if it had: the
    controller leaves that condition until the new template makes progress. Raises EgressError when the rollout is paused, when it fails (a
    container that crashes or has no image, a quota, the progress deadline), and after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    said, looked = "", 0.0
    for body in _states(cluster, ref, deadline):
        done, line = kinds.rollout_done(body)
        if line != said:
            progress(line)
            said = line
        if done:
            return
        if kinds.hold(body) is kinds.Hold.PAUSED:
            remedy = f"kubectl rollout resume {_name(ref)} -n {ref.namespace}, then run the command again"
            raise EgressError(f"{_name(ref)}: the rollout is paused", remedy)
        passed = kinds.deadline_passed(body)
        failure = "" if passed and passed == stale else _failure(body)
        # Before the controller has seen the new template, the newest pods are those of the old one.
        if not failure and _observed(body) and time.monotonic() - looked >= _PODS_LOOK:
            failure, looked = _pod_trouble_now(cluster, body), time.monotonic()
        if failure:
            raise EgressError(f"{_name(ref)}: the rollout fails: {failure}", _remedy(ref))
    raise EgressError(f"{_name(ref)}: the rollout was not done after {timeout:g}s: {said}", _remedy(ref))


def wait_gone(cluster: Cluster, pods: Sequence[Body], *, timeout: float, progress: Callable[[str], None]) -> None:
    """Wait until none of these pods (by uid) is there any more, or it has finished; terminating ones are still there.

    Raises EgressError with the names of those that are left after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    wanted = {pod["metadata"]["uid"] for pod in pods}
    namespaces = {pod["metadata"].get("namespace", "") for pod in pods}
    said = 0
    while wanted:
        present = [pod for namespace in namespaces for pod in cluster.list("v1", "pods", namespace)]
        left = [pod for pod in present if pod["metadata"]["uid"] in wanted and not _finished(pod)]
        if not left:
            return
        if len(left) != said:
            said = len(left)
            progress(f"Waiting for {said} old pod{'' if said == 1 else 's'} to be gone...")
        if time.monotonic() >= deadline:
            names = ", ".join(sorted(pod["metadata"]["name"] for pod in left))
            raise EgressError(
                f"old pods are still there after {timeout:g}s: {names}",
                "look at what keeps them: kubectl get pod -o yaml; then run the command again",
            )
        _until_change(cluster, left, min(_LOOK, deadline - time.monotonic()))


# ---- states of a workload ---------------------------------------------------------------------------------------------


def _states(cluster: Cluster, ref: Ref, deadline: float) -> Iterator[Body]:
    """The workload as it is, then after each change, and at least every two seconds, until the deadline."""
    resource = cluster.resource_of(ref.kind, ref.api_version)
    while True:
        try:
            body = cluster.get(ref)
        except EgressError as error:
            # An API server that restarts is no reason to undo a rollout.
            if not error.passing or time.monotonic() >= deadline:
                raise
            time.sleep(_PODS_LOOK)
            continue
        yield body
        left = deadline - time.monotonic()
        if left <= 0:
            return
        yield from _changes(cluster, resource, body, time.monotonic() + min(_LOOK, left))


def _changes(cluster: Cluster, resource: ApiResource, body: Body, until: float) -> Iterator[Body]:
    """What becomes of one object from here on."""
    metadata = body["metadata"]
    try:
        events = cluster.watch(
            resource.api_version,
            resource.plural,
            metadata["namespace"],
            field_selector=f"metadata.name={metadata['name']}",
            resource_version=metadata["resourceVersion"],
            timeout=max(1.0, until - time.monotonic()),
        )
        for kind, changed in events:
            if kind == "DELETED":
                raise NotFoundError(
                    f'{resource.full_name} "{metadata["name"]}" was deleted', "look who does that", status=404
                )
            yield changed
            if time.monotonic() >= until:
                return
    except ForbiddenError:
        # Whoever may not watch looks again and again.
        time.sleep(_PODS_LOOK)
    except (ApiError, UnreachableError) as error:
        # Too old a version, too busy a server: whoever asks looks anew.
        if not error.passing and not (isinstance(error, ApiError) and error.status == 410):
            raise


def _until_change(cluster: Cluster, pods: Iterable[Body], seconds: float) -> None:
    """Return when one of the pods is deleted, at latest after about `seconds`."""
    uids = {pod["metadata"]["uid"]: pod["metadata"] for pod in pods}
    until = time.monotonic() + seconds
    namespace = next(iter(uids.values())).get("namespace", "")
    for kind, changed in cluster.watch("v1", "pods", namespace, timeout=max(1.0, seconds)):
        gone = kind == "DELETED" or _finished(changed)
        if (gone and changed["metadata"]["uid"] in uids) or time.monotonic() >= until:
            return


def _finished(pod: Body) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


# ---- why it will not be done ------------------------------------------------------------------------------------------


def _failure(body: Body) -> str:
    """Why waiting is in vain, as the object itself says it; empty if it is not."""
    status = body.get("status") or {}
    for condition in status.get("conditions") or () if _observed(body) else ():
        # The ReplicaSet cannot make pods: a quota, a refusing admission, a missing service account.
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return redacted(" ".join(str(condition.get("message", "")).split()))
    return kinds.rollout_failed(body)


def _observed(body: Body) -> bool:
    """Whether the controller has seen the object as it is now."""
    seen = (body.get("status") or {}).get("observedGeneration") or 0
    return int(seen) >= int(body["metadata"].get("generation") or 0)


def _pod_trouble_now(cluster: Cluster, body: Body) -> str:
    """As `pod_trouble`; empty where the server does not say it at the moment."""
    try:
        return pod_trouble(cluster, body)
    except EgressError as error:
        if not error.passing:
            raise
        return ""


def pod_trouble(cluster: Cluster, body: Body) -> str:
    """Why a pod of the workload's new template does not come up: the container's own reason; empty if none says so."""
    selector = (body.get("spec") or {}).get("selector", {}).get("matchLabels") or {}
    labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    mark = _mark(cluster, body, labels) if labels else None
    if mark is None:
        return ""
    label, value = mark
    pods = cluster.list("v1", "pods", body["metadata"]["namespace"], label_selector=labels)
    found = (container_trouble(pod) for pod in pods if (pod["metadata"].get("labels") or {}).get(label) == value)
    return next((reason for reason in found if reason), "")


def container_trouble(pod: Body) -> str:
    """The first container that is stuck, and why."""
    status = pod.get("status") or {}
    for state in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (state.get("state") or {}).get("waiting") or {}
        reason = str(waiting.get("reason", ""))
        crashing = reason == "CrashLoopBackOff" and int(state.get("restartCount") or 0) >= _RESTARTS
        if crashing or reason in _IMAGE_TROUBLE or reason in _START_TROUBLE:
            ended = ((state.get("lastState") or {}).get("terminated") or {}) if crashing else {}
            detail = f"exit code {ended['exitCode']}" if "exitCode" in ended else str(waiting.get("message", ""))
            text = " ".join(detail.split())
            return f"container {state.get('name')} of pod {pod['metadata']['name']}: {reason}" + (
                f" ({text})" if text else ""
            )
    return ""


def _mark(cluster: Cluster, body: Body, labels: str) -> tuple[str, str] | None:
    """The label of the pods of the newest template, and its value; old pods may be in trouble of their own."""
    if body["kind"] == "StatefulSet":
        revision = (body.get("status") or {}).get("updateRevision")
        return ("controller-revision-hash", str(revision)) if revision else None
    if body["kind"] == "Rollout":
        current = (body.get("status") or {}).get("currentPodHash")
        return ("rollouts-pod-template-hash", str(current)) if current else None
    if body["kind"] == "DaemonSet":
        number = (body["metadata"].get("annotations") or {}).get("deprecated.daemonset.template.generation")
        return ("pod-template-generation", str(number)) if number else None
    namespace = body["metadata"]["namespace"]
    made = cluster.list("apps/v1", "replicasets", namespace, label_selector=labels, metadata_only=True)
    newest = [one for one in made if _revision(one) == _revision(body) is not None]
    hashes = [(one["metadata"].get("labels") or {}).get("pod-template-hash") for one in newest]
    return ("pod-template-hash", str(hashes[0])) if hashes and hashes[0] else None


def _revision(body: Body) -> str | None:
    found = (body["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")
    return None if found is None else str(found)


def _name(ref: Ref) -> str:
    return f"{ref.kind.lower()}/{ref.name}"


def _remedy(ref: Ref) -> str:
    return f"kubectl describe {_name(ref)} -n {ref.namespace} and kubectl get pods -n {ref.namespace} show more"
