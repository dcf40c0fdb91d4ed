"""The verdicts: what one proxy proves, and what all proxies of a workload prove.

Decided from the top; the first row that holds is the verdict.

| verdict        | when                                                                                             |
| -------------- | ------------------------------------------------------------------------------------------------ |
| `unknown`      | one of the two snapshots could not be read                                                       |
| `leaking`      | requests under PassthroughCluster that may have been sent; connections past every cluster to the |
|                | host's addresses in clear; requests through a cluster of the host without TLS                    |
| `failing`      | the share that the proxy answered itself, or that broke on the way, is above the baseline's;     |
|                | the server answers nothing but errors where the baseline had none; nothing that was counted was  |
|                | ever sent; or no TLS connection to the host is made                                              |
| `unconfigured` | `configured` says what is missing                                                                |
| `silent`       | no request was begun and answered in the window                                                  |
| `unknown`      | requests are sent over TLS, but the proxy exports no metrics of them                             |
| `verified`     | configured, used and seen                                                                        |

What fails comes before what is not configured: a missing cluster shows as requests that fail, and then it is urgent.
What the server itself answers (404, 500) is its business, and shows by code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_egress.model import Host, Judgement, PodVerdict, Proxy, ProxyUnread, Ref, RequestSeries, Verdict
from kubectl_egress.verify.baseline import Baseline
from kubectl_egress.verify.configured import Expected, configured, shown
from kubectl_egress.verify.latency import percentiles
from kubectl_egress.verify.traffic import MEANINGS, Traffic, by_code, flags_of, total, traffic

_WORST_LAST = tuple(Judgement)


def judge_pod(
    host: Host, before: Proxy, after: Proxy, expected: Expected, baseline: Baseline | None = None
) -> PodVerdict:
    """What two snapshots of one proxy prove about the calls to a host in between."""
    if isinstance(after, ProxyUnread):
        return PodVerdict(after.pod, Judgement.UNKNOWN, after.reason, {})
    if isinstance(before, ProxyUnread):
        return PodVerdict(before.pod, Judgement.UNKNOWN, before.reason, {})
    is_configured, evidence, problem = configured(host, after, expected)
    found = traffic(host, before, after, expected)
    judgement, reason = _decide(host, problem, found, baseline or Baseline())
    return PodVerdict(
        pod=after.pod,
        judgement=judgement,
        reason=f"{reason} (since the proxy restarted)" if found.restarted else reason,
        evidence={
            **_evidence({"ok": is_configured, "reason": problem, **evidence}, found),
            **_compared(found, baseline or Baseline()),
        },
        by_code=by_code(found.requests),
        buckets=found.buckets,
    )


def _decide(host: Host, problem: str, found: Traffic, baseline: Baseline) -> tuple[Judgement, str]:
    """The table above, from its second row on."""
    if found.leaks:
        return Judgement.LEAKING, "; ".join(found.leaks)
    failing = _failing(host, found, baseline)
    if failing:
        return Judgement.FAILING, f"{failing}; {problem}" if problem else f"{failing}{_meaning(found.failed)}"
    if problem:
        return Judgement.UNCONFIGURED, problem
    if not found.used and not found.seen:
        return Judgement.SILENT, f"configured, but no request in {found.seconds:.0f} s"
    if found.used and not found.since_start_count:
        return (
            Judgement.UNKNOWN,
            f"{found.used} sent over TLS, but no istio_requests_total: metrics are off in this mesh",
        )
    if not found.answered:
        gave_up = total(found.abandoned)
        return (
            Judgement.SILENT,
            f"the application gave up on {gave_up}" if gave_up else "requests sent, none answered yet",
        )
    if not found.used:
        return Judgement.SILENT, f"no request begun in {found.seconds:.0f} s"
    return Judgement.VERIFIED, f"{_counted(found.answered)} over TLS"


def _failing(host: Host, found: Traffic, baseline: Baseline) -> str:
    """Why it fails, or ''."""
    ended = total(found.answered) + total(found.failed)
    if ended and total(found.failed) / ended > baseline.failed_share:
        return f"{total(found.failed)} of {ended} failed: {_counted(found.failed)}"
    errors = [one for one in found.answered if one.code[:1] in ("4", "5")]
    if errors and baseline.error_share == 0 and total(errors) == total(found.answered):
        return f"{host.name} answers nothing but errors: {_counted(errors)}"
    if found.answered and not found.used and not found.underway:
        return f"the proxy answered itself: {_counted(found.answered)}, and none was sent to {host.name}"
    if found.connect_failures and not found.used and not found.seen:
        return f"no connection to {host.name}: {found.connect_failures} tried"
    return ""


def _counted(series: Sequence[RequestSeries]) -> str:
    """`200×5, 503 UF×2`"""
    counted: dict[str, int] = {}
    for one in sorted(series, key=lambda one: one.code):
        label = " ".join(filter(None, [one.code, ",".join(sorted(flags_of(one)))]))
        counted[label] = counted.get(label, 0) + one.count
    return ", ".join(f"{label}×{count}" for label, count in counted.items())


def _meaning(series: Sequence[RequestSeries]) -> str:
    """What the response flags of the failed ones mean, in brackets; '' of flags that say nothing more."""
    flags = sorted({flag for one in series for flag in flags_of(one)} & MEANINGS.keys())
    return f" ({'; '.join(f'{flag}: {MEANINGS[flag]}' for flag in flags)})" if flags else ""


def _evidence(is_configured: Mapping[str, Any], found: Traffic) -> Mapping[str, Any]:
    """Design's five, and the window that they are of."""
    return {
        "window": {"seconds": round(found.seconds, 1), "restarted": found.restarted},
        "configured": is_configured,
        "used": {
            "requests": found.used,
            "successes": sum(one.successes for one in found.sent),
            "errors": sum(one.errors for one in found.sent),
            "connectFailures": found.connect_failures,
            "endpoints": {shown(one): one.requests for one in found.sent if one.requests},
        },
        "seen": {
            "requests": found.seen,
            "sinceStart": found.since_start_count,
            "byCode": by_code(found.requests),
            "latencySince": "" if not found.buckets else "proxy start" if found.since_start else "window",
        },
        "served": {
            "byServer": total(found.answered),
            "failed": total(found.failed),
            "abandoned": total(found.abandoned),
            "reasons": _counted(found.failed),
        },
        "notLeaking": {
            "ok": not (found.leaks or found.possible_leaks),
            "leaks": list(found.leaks),
            **({"possible": list(found.possible_leaks)} if found.possible_leaks else {}),
        },
    }


def _compared(found: Traffic, baseline: Baseline) -> Mapping[str, Any]:
    """Before and now in numbers, where the migration's journal has what was before."""
    if baseline.measured is None:
        return {}
    ended = total(found.answered) + total(found.failed)
    errors = total(one for one in found.answered if one.code[:1] in ("4", "5"))
    now = {
        "unit": "requests",
        "count": ended,
        "failed": total(found.failed),
        "failedShare": total(found.failed) / ended if ended else None,
        "errorShare": errors / total(found.answered) if found.answered else None,
        "latencyMs": dict(percentiles(found.buckets)) if found.buckets else None,
    }
    return {"before": dict(baseline.measured), "now": now}


def judge(host: Host, workload: Ref, pods: Sequence[PodVerdict], fails_closed: bool) -> Verdict:
    """A workload is as good as its worst pod, and unknown without one."""
    if not pods:
        reason = "no running pod with a sidecar"
        return Verdict(host, workload, Judgement.UNKNOWN, reason, fails_closed, ())
    worst = max(pods, key=lambda pod: _WORST_LAST.index(pod.judgement))
    same = sum(pod.judgement is worst.judgement for pod in pods)
    where = f" (pod {worst.pod.name}; {same} of {len(pods)} pods)" if len(pods) > 1 else ""
    possible = () if fails_closed else worst.evidence.get("notLeaking", {}).get("possible", ())
    reason = "; ".join([f"{worst.reason}{where}", *possible])
    return Verdict(host, workload, worst.judgement, reason, fails_closed, tuple(pods))


def decided(verdicts: Sequence[Verdict], *, latency: bool = False) -> bool:
    """Whether the window may end: something leaks, or every pod is verified, failing or not configured.

    What is not configured may leak yet where it fails open. `latency`: wait for the histograms too, which Envoy merges
    every 5 s.
    """
    if any(verdict.judgement is Judgement.LEAKING for verdict in verdicts):
        return True
    return all(
        verdict.pods and all(_settled(pod, latency, verdict.fails_closed) for pod in verdict.pods)
        for verdict in verdicts
    )


def _settled(pod: PodVerdict, latency: bool, fails_closed: bool) -> bool:
    if pod.judgement is Judgement.VERIFIED:
        return bool(pod.buckets) or not latency
    return pod.judgement is Judgement.FAILING or (pod.judgement is Judgement.UNCONFIGURED and fails_closed)
