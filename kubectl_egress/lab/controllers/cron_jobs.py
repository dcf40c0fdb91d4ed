"""CronJob → Jobs, minute by minute (k8s.io/kubernetes pkg/controller/cronjob)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from kubectl_egress.lab.api.schedule import schedule
from kubectl_egress.lab.api.store import timestamp
from kubectl_egress.lab.controllers.jobs import finished
from kubectl_egress.lab.controllers.ownership import (
    Body,
    Create,
    Delete,
    Object,
    SetStatus,
    Write,
    age_key,
    moment,
    reference,
    terminating,
)


def reconcile(cron_job: Body, jobs: Sequence[Body], now: datetime) -> Iterator[Write]:
    """The Job that is due, the Jobs that nobody needs any more, and the status."""
    if terminating(cron_job):
        return
    yield from _history(cron_job, jobs)
    working = [job for job in jobs if not finished(job)]
    due = _due(cron_job, now)
    policy = cron_job["spec"]["concurrencyPolicy"]
    starts = due is not None and not (policy == "Forbid" and working)
    if due is not None and starts:
        if policy == "Replace":
            for job in working:
                yield Delete("jobs", job)
            working = []
        yield Create("jobs", _job(cron_job, due), cron_job["metadata"]["uid"])
    yield SetStatus("cronjobs", cron_job, _status(cron_job, jobs, working, due if starts else None))


def _due(cron_job: Body, now: datetime) -> datetime | None:
    spec, status = cron_job["spec"], cron_job.get("status") or {}
    if spec.get("suspend"):
        return None
    zone = ZoneInfo(spec.get("timeZone") or "UTC")
    after = moment(status.get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"])
    due = schedule(spec["schedule"]).last(after.astimezone(zone), now.astimezone(zone))
    deadline = spec.get("startingDeadlineSeconds")
    if due is not None and deadline is not None and due + timedelta(seconds=deadline) < now:
        return None
    return due


def _job(cron_job: Body, due: datetime) -> Object:
    template, metadata = cron_job["spec"]["jobTemplate"], cron_job["metadata"]
    labels = dict((template.get("metadata") or {}).get("labels") or {})
    annotations = dict((template.get("metadata") or {}).get("annotations") or {})
    annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"] = (
        due.astimezone(UTC).isoformat().replace("+00:00", "Z")
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{metadata['name']}-{int(due.timestamp()) // 60}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [reference(cron_job)],
        },
        "spec": template["spec"],
    }


def _history(cron_job: Body, jobs: Sequence[Body]) -> Iterator[Write]:
    limits = {"Complete": "successfulJobsHistoryLimit", "Failed": "failedJobsHistoryLimit"}
    for state, limit in limits.items():
        ended = sorted((job for job in jobs if finished(job) == state), key=age_key)
        surplus = len(ended) - cron_job["spec"][limit]
        for job in ended[: max(surplus, 0)]:
            yield Delete("jobs", job)


def _status(cron_job: Body, jobs: Sequence[Body], working: Sequence[Body], due: datetime | None) -> Object:
    status: Object = dict(cron_job.get("status") or {})
    status["active"] = [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "namespace": job["metadata"]["namespace"],
            "name": job["metadata"]["name"],
            "uid": job["metadata"]["uid"],
            "resourceVersion": job["metadata"]["resourceVersion"],
        }
        for job in working
    ]
    if not status["active"]:
        del status["active"]
    if due is not None:
        status["lastScheduleTime"] = timestamp(due)
    ends = [job["status"]["completionTime"] for job in jobs if finished(job) == "Complete"]
    if ends:
        status["lastSuccessfulTime"] = max([*ends, status.get("lastSuccessfulTime", "")])
    return status
