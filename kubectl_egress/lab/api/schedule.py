"""Cron's five fields: when a schedule was last due."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_RANGES = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, _MONTHS), (0, 6, _DAYS))
_FARTHEST = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The minutes, hours, days, months and weekdays on which something is due."""

    fields: tuple[frozenset[int], ...]
    either_day: bool
    """Whether day and weekday are both restricted: then one of them is enough."""

    def due(self, moment: datetime) -> bool:
        """Whether the minute of `moment` is due."""
        minutes, hours, days, months, weekdays = self.fields
        day, weekday = moment.day in days, moment.isoweekday() % 7 in weekdays
        fits = day or weekday if self.either_day else day and weekday
        return moment.minute in minutes and moment.hour in hours and moment.month in months and fits

    def last(self, after: datetime, until: datetime) -> datetime | None:
        """The latest minute that was due, later than `after` and not later than `until`; none older than eight days."""
        moment = until.replace(second=0, microsecond=0)
        while moment > max(after, until - _FARTHEST):
            if self.due(moment):
                return moment
            moment -= timedelta(minutes=1)
        return None


def schedule(text: str) -> Schedule:
    """The schedule of a CronJob.

    Raises ValueError for a text that is none.
    """
    parts = _MACROS.get(text.strip(), text).lower().split()
    if len(parts) != len(_RANGES):
        raise ValueError(f"expected exactly 5 fields, found {len(parts)}: [{text}]")
    fields = tuple(_field(part, *bounds) for part, bounds in zip(parts, _RANGES, strict=True))
    return Schedule(fields, parts[2] not in ("*", "?") and parts[4] not in ("*", "?"))


def _field(text: str, low: int, high: int, names: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\*|\?|[a-z0-9]+)(?:-([a-z0-9]+))?(?:/(\d+))?", part)
        if match is None or (match[1] in "*?" and match[2]):
            raise ValueError(f"failed to parse {text!r}")
        if match[1] in "*?":
            start, end = low, high
        else:
            start = _number(match[1], names)
            end = _number(match[2], names) if match[2] else high if match[3] else start
        step = int(match[3] or 1)
        if not (low <= start <= end <= high) or not step:
            raise ValueError(f"{part!r} is not between {low} and {high}")
        found.update(range(start, end + 1, step))
    return frozenset(found)


def _number(text: str, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text)
    if not text.isdecimal():
        raise ValueError(f"failed to parse {text!r} as a number")
    return int(text)
