"""Job → Pods until enough have succeeded or too many have failed (k8s.io/kubernetes pkg/controller/job)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from kubectl_egress.lab.api.store import timestamp
from kubectl_egress.lab.controllers.ownership import (
    Body,
    Create,
    Delete,
    Object,
    SetStatus,
    Write,
    active,
    moment,
    phase,
    pod_of,
    ready,
    terminating,
)

_FIRST_DELAY, _LONGEST_DELAY = 10, 600
"""Seconds between a failed pod and the next; doubled each time."""


def finished(job: Body) -> str:
    """Complete, Failed, or empty."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return next(
        (
            str(item["type"])
            for item in conditions
            if item["type"] in ("Complete", "Failed") and item["status"] == "True"
        ),
        "",
    )


def reconcile(job: Body, pods: Sequence[Body], now: datetime) -> Iterator[Write]:
    """The next step of a Job, and its status."""
    if terminating(job):
        return
    if finished(job):
        yield from _expire(job, now)
        return
    running = active(pods)
    verdict = _verdict(job, pods, now)
    if verdict or job["spec"].get("suspend"):
        for pod in running:
            yield Delete("pods", pod)
    else:
        for _ in range(_missing(job, pods, now)):
            yield Create("pods", pod_of(job, job["spec"]["template"]), job["metadata"]["uid"])
    yield SetStatus("jobs", job, _status(job, pods, verdict, now))


def _count(pods: Sequence[Body], wanted: str) -> int:
    return sum(phase(pod) == wanted for pod in pods)


def _verdict(job: Body, pods: Sequence[Body], now: datetime) -> tuple[str, str, str] | None:
    """Complete or Failed, with reason and message, once that is certain."""
    spec = job["spec"]
    succeeded, failed = _count(pods, "Succeeded"), _count(pods, "Failed")
    if failed > spec["backoffLimit"]:
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    started, deadline = (job.get("status") or {}).get("startTime"), spec.get("activeDeadlineSeconds")
    if started and deadline and moment(started) + timedelta(seconds=deadline) < now:
        return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
    wanted = spec.get("completions")
    # without `completions`, the first success ends it, as soon as no pod works any more.
    enough = succeeded >= wanted if wanted is not None else succeeded > 0 and not active(pods)
    return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods") if enough else None


def _missing(job: Body, pods: Sequence[Body], now: datetime) -> int:
    """How many pods to start now."""
    spec, running = job["spec"], len(active(pods))
    succeeded, failed = _count(pods, "Succeeded"), _count(pods, "Failed")
    if failed:
        delay = timedelta(seconds=min(_FIRST_DELAY * 2 ** (failed - 1), _LONGEST_DELAY))
        last = max(_ended(pod) for pod in pods if phase(pod) == "Failed")
        if last + delay > now:
            return 0
    wanted = spec.get("completions")
    if wanted is None:
        return 0 if succeeded else max(int(spec["parallelism"]) - running, 0)
    return max(min(int(spec["parallelism"]), int(wanted) - succeeded) - running, 0)


def _ended(pod: Body) -> datetime:
    states = (pod.get("status") or {}).get("containerStatuses") or []
    ends = [((item.get("state") or {}).get("terminated") or {}).get("finishedAt") for item in states]
    return moment(max([end for end in ends if end], default=pod["metadata"]["creationTimestamp"]))


def _status(job: Body, pods: Sequence[Body], verdict: tuple[str, str, str] | None, now: datetime) -> Object:
    before, running, text = job.get("status") or {}, active(pods), timestamp(now)
    leaving = sum(terminating(pod) for pod in pods if phase(pod) not in ("Succeeded", "Failed"))
    counts = {
        "active": 0 if verdict else len(running),
        "succeeded": _count(pods, "Succeeded"),
        "failed": _count(pods, "Failed"),
    }
    status: Object = {field: count for field, count in counts.items() if count}
    status.update(ready=sum(map(ready, running)), terminating=leaving, uncountedTerminatedPods={})
    if job["spec"].get("suspend"):
        status["conditions"] = [_condition("Suspended", "JobSuspended", "Job suspended", text, before)]
        return status
    status["startTime"] = before.get("startTime") or text
    if verdict:
        kind, reason, message = verdict
        earlier = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[kind]
        status["conditions"] = [_condition(name, reason, message, text, before) for name in (earlier, kind)]
        if kind == "Complete":
            status["completionTime"] = text
    return status


def _condition(kind: str, reason: str, message: str, now: str, before: Body) -> Object:
    old = next((item for item in before.get("conditions") or [] if item["type"] == kind), None)
    if old is not None:
        return dict(old)
    times = {"lastProbeTime": now, "lastTransitionTime": now}
    return {"type": kind, "status": "True", **times, "reason": reason, "message": message}


def _expire(job: Body, now: datetime) -> Iterator[Write]:
    seconds = job["spec"].get("ttlSecondsAfterFinished")
    if seconds is None:
        return
    ended = max(item["lastTransitionTime"] for item in job["status"]["conditions"])
    if moment(ended) + timedelta(seconds=seconds) <= now:
        yield Delete("jobs", job)
