"""What is migrated, and what has drifted, as a table and as a document."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kubectl_egress import urls
from kubectl_egress.drift import Drift, Migration, Migrations
from kubectl_egress.report.colour import painted
from kubectl_egress.report.inspect import API_VERSION
from kubectl_egress.report.names import reference, resource_name, short_name
from kubectl_egress.report.table import counted, fitted, hanging, one_line

COLUMNS = ("HOST", "CALLERS", "PHASE", "FAILS", "DRIFT", "RUN", "BY", "AGE")
SPARE = ("RUN", "BY")
WIDE_COLUMNS = ("ALIAS", "OBJECTS", "PROXIES")


def migrations_table(
    found: Migrations, now: datetime, wide: bool = False, colour: bool = False, width: int | None = None
) -> str:
    """One line for each host and namespace, then every drift with its remedy. '' where nothing is migrated.

    `width`: of the terminal; what does not fit is left to `wide`.
    """
    headers = ((*COLUMNS, *WIDE_COLUMNS) if wide else COLUMNS) if found.namespace else ("NAMESPACE", *COLUMNS)
    headers = (*headers, *WIDE_COLUMNS) if wide and not found.namespace else headers
    rows = [_row(item, now, wide, not found.namespace) for item in found.items]
    lines = [line for item in found.items for drift in item.drifts for line in _lines(drift, item, colour, width)]
    lines += [line for drift in found.unread for line in _lines(drift, None, colour, width)]
    text = fitted(headers, rows, None if wide else width, SPARE)
    return urls.shown(text + ("\n" if text and lines else "") + "".join(lines))


def _row(item: Migration, now: datetime, wide: bool, everywhere: bool) -> tuple[str, ...]:
    journal = item.journal
    row = (
        str(journal.host),
        ",".join(map(short_name, item.callers)),
        "named" if journal.named and journal.phase == "migrated" else journal.phase,
        item.fails,
        ",".join(f"{code}" for code in dict.fromkeys(drift.code for drift in item.drifts)),
        journal.run,
        journal.by,
        age(journal.started, now),
    )
    more = (journal.alias, ",".join(short_name(record.ref) for record in journal.mesh), str(item.proxies))
    return (*((journal.namespace,) if everywhere else ()), *row, *(more if wide else ()))


def age(started: str, now: datetime) -> str:
    """`3d4h`, in kubectl's manner; `<unknown>` for what is no time."""
    try:
        seconds = int((now - datetime.fromisoformat(started)).total_seconds())
    except (ValueError, TypeError):
        return "<unknown>"
    days, hours, minutes = seconds // 86400, seconds // 3600, seconds // 60
    if seconds < 0:
        return "<unknown>"
    if minutes < 2:
        return f"{seconds}s"
    if hours < 3:
        return f"{minutes}m"
    if days < 2:
        return f"{hours}h"
    return f"{days}d{hours % 24}h" if days < 8 and hours % 24 else f"{days}d"


def _lines(drift: Drift, item: Migration | None, colour: bool, width: int | None) -> list[str]:
    about = resource_name(drift.object) if drift.object.name else drift.object.kind
    host = f"{item.host}: " if item else ""
    said = hanging(f"{drift.code:<16}  {host}{about}: {one_line(drift.message)}", 18, width)
    lines = [said.replace(drift.code, painted(drift.code, "yellow", colour), 1)]
    return [*lines, *([hanging(f"{'':18}→ {drift.remedy}", 20, width)] if drift.remedy else [])]


def migrations_summary(found: Migrations) -> str:
    """One line: how much there is, and how much of it is as it was left."""
    where = f" in namespace {found.namespace}" if found.namespace else ""
    if not found.items:
        return f"Nothing is migrated{where}.\n"
    drifted = sum(bool(item.drifts) for item in found.items)
    state = f"{drifted} drifted" if drifted else "all as they were left"
    return f"{counted(len(found.items), 'host')} migrated{where}: {state}.\n"


def migrations_document(found: Migrations) -> dict[str, Any]:
    """The MigrationList as a document for `-o json` and `-o yaml`."""
    return {
        "apiVersion": API_VERSION,
        "kind": "MigrationList",
        "items": [migration_document(item) for item in found.items],
        "unread": [drift_document(drift) for drift in found.unread],
    }


def migration_document(item: Migration) -> dict[str, Any]:
    """One migration in a document."""
    journal = item.journal
    return {
        "host": journal.host.name,
        "port": journal.host.port,
        "namespace": journal.namespace,
        "phase": journal.phase,
        **({"named": True} if journal.named else {}),
        "run": journal.run,
        "by": journal.by,
        "started": journal.started,
        "failsClosed": item.fails == "closed",
        **({"guarded": True} if item.fails == "guarded" else {}),
        "alias": journal.alias,
        "objects": [reference(record.ref) for record in journal.mesh],
        "workloads": [reference(ref) for ref in item.callers],
        "drift": [drift_document(drift) for drift in item.drifts],
    }


def drift_document(drift: Drift) -> dict[str, Any]:
    """One drift in a document."""
    return {
        "code": drift.code,
        "object": reference(drift.object),
        "message": urls.shown(drift.message),
        "remedy": urls.shown(drift.remedy),
    }
