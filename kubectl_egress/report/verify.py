"""Verdicts as a table and as a document."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_egress import urls
from kubectl_egress.model import Judgement, PodVerdict, Verdict
from kubectl_egress.report.colour import highlighted
from kubectl_egress.report.comparison import comparison, comparison_lines
from kubectl_egress.report.inspect import API_VERSION
from kubectl_egress.report.latency import latency_of, milliseconds
from kubectl_egress.report.names import reference, short_name
from kubectl_egress.report.table import counted, fitted, hanging, one_line

COLUMNS = ("WORKLOAD", "HOST", "VERDICT", "FAILS", "REQUESTS", "CODES", "P50", "P95", "P99", "PODS")
SPARE = ("P50", "P99", "REQUESTS")
"""What a narrow terminal does without; the codes have the requests in them."""
WORST_FIRST = tuple(reversed(Judgement))


def verify_table(
    verdicts: Sequence[Verdict], wide: bool = False, colour: bool = False, width: int | None = None
) -> str:
    """One line for each workload and host, the worst first, then the reason of each that is not verified.

    `wide` adds a line of reasons for every pod. `width`: of the terminal; what does not fit is left to `wide`. '' without
    verdicts.
    """
    ordered = worst_first(verdicts)
    reasons = [hanging(line, 14, width) for verdict in ordered for line in _reasons(verdict, wide)]
    text = fitted(COLUMNS, [_row(verdict) for verdict in ordered], None if wide else width, SPARE)
    return highlighted(text + ("\n" + "".join(reasons) if reasons else ""), colour)


def worst_first(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The order in which somebody reads them."""
    return sorted(verdicts, key=lambda one: (WORST_FIRST.index(one.judgement), one.host, one.workload))


def _row(verdict: Verdict) -> tuple[str, ...]:
    latency = latency_of(verdict)
    good = sum(pod.judgement is verdict.judgement for pod in verdict.pods)
    return (
        short_name(verdict.workload),
        str(verdict.host),
        str(verdict.judgement),
        fails(verdict),
        str(sum(verdict.by_code.values())),
        ",".join(f"{code}×{count}" for code, count in verdict.by_code.items()),
        *(milliseconds(latency[key]) for key in ("p50", "p95", "p99")),
        f"{good}/{len(verdict.pods)}",
    )


def fails(verdict: Verdict) -> str:
    """How it fails without a sidecar, in a word: closed, open, or guarded (open, where no network policy is enforced)."""
    return "closed" if verdict.fails_closed else "guarded" if verdict.guarded else "open"


def _reasons(verdict: Verdict, wide: bool) -> list[str]:
    lines = []
    if verdict.judgement is not Judgement.VERIFIED and verdict.reason:
        lines.append(_reason(str(verdict.judgement), f"{short_name(verdict.workload)}, {verdict.host}", verdict.reason))
    if wide and verdict.closed_by:
        about = f"{short_name(verdict.workload)}, {verdict.host}"
        lines.append(_reason(fails(verdict), about, f"by {', and by '.join(verdict.closed_by)}"))
    for pod in verdict.pods if wide else ():
        lines.append(_reason(str(pod.judgement), f"pod/{pod.pod.name}", pod.reason))
    compared = comparison(verdict) if wide else None
    lines += [f"{'':12}  {line}" for line in (comparison_lines(compared) if compared else ())]
    lines += _history(verdict)
    return lines


def _history(verdict: Verdict) -> list[str]:
    """What Prometheus adds, and where it disagrees."""
    if verdict.history is None:
        return []
    about = f"{short_name(verdict.workload)}, {verdict.host}"
    lines = [_reason("prometheus", about, str(verdict.history["summary"]))]
    return lines + [_reason("disagrees", about, text) for text in verdict.history["disagreements"]]


def _reason(judgement: str, about: str, reason: str) -> str:
    return f"{judgement:<12}  {about}: {urls.shown(one_line(reason))}"


def verify_summary(verdicts: Sequence[Verdict]) -> str:
    """One line: how much of it is proven."""
    if not verdicts:
        return "Nothing to verify: no workload calls a migrated host.\n"
    calls = counted(len({verdict.workload for verdict in verdicts}), "workload")
    about = f"{calls}, {counted(len({verdict.host for verdict in verdicts}), 'host')}"
    numbers = Counter(verdict.judgement for verdict in verdicts)
    if set(numbers) == {Judgement.VERIFIED}:
        return f"Verified: {about}.\n"
    return f"Not verified: {', '.join(f'{numbers[one]} {one}' for one in WORST_FIRST if numbers[one])} ({about}).\n"


def all_verified(verdicts: Sequence[Verdict]) -> bool:
    """Whether `verify` may exit with 0."""
    return all(verdict.judgement is Judgement.VERIFIED for verdict in verdicts)


def verify_document(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The VerifyReport as a document for `-o json` and `-o yaml`."""
    return {
        "apiVersion": API_VERSION,
        "kind": "VerifyReport",
        "items": [item_document(verdict) for verdict in verdicts],
    }


def item_document(verdict: Verdict) -> dict[str, Any]:
    """One item of the report."""
    return {
        "host": verdict.host.name,
        "port": verdict.host.port,
        "workload": reference(verdict.workload),
        "verdict": str(verdict.judgement),
        "reason": urls.shown(verdict.reason),
        "failsClosed": verdict.fails_closed,
        "closedBy": list(verdict.closed_by),
        "requests": {"total": sum(verdict.by_code.values()), "byCode": dict(verdict.by_code)},
        "latencyMs": dict(latency_of(verdict)),
        "pods": [_pod_document(pod) for pod in verdict.pods],
        **({"prometheus": plain(verdict.history)} if verdict.history is not None else {}),
    }


def _pod_document(pod: PodVerdict) -> dict[str, Any]:
    return {
        "name": pod.pod.name,
        "verdict": str(pod.judgement),
        "reason": urls.shown(pod.reason),
        "evidence": plain(pod.evidence),
    }


def plain(value: Any) -> Any:
    """Evidence as JSON has it: mappings, lists and scalars; strings without credentials, keys as they are."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return urls.shown(value) if isinstance(value, str) else value
