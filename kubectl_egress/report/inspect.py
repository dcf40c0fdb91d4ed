"""`inspect` as a table, as names and as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from kubectl_egress import paths, urls
from kubectl_egress.inspection import InspectItem, InspectReport, PassthroughTraffic
from kubectl_egress.model import CallSite, Host, Severity, Visibility
from kubectl_egress.proxy.wire import Destination, KnownBy
from kubectl_egress.report.colour import highlighted
from kubectl_egress.report.findings import RANK, finding_document, findings_text
from kubectl_egress.report.names import reference, resource_name, short_name
from kubectl_egress.report.table import GrowingTable, counted, table
from kubectl_egress.scan import shown_site

API_VERSION = "egress.kubectl/v1"
COLUMNS = ("WORKLOAD", "HOST", "VISIBILITY", "CALLS", "FAILS", "FINDINGS")
WIDE_COLUMNS = ("CONTAINER", "OBJECT", "PATH", "URL", "REASON")
LIVE_COLUMN = "SEEN"
FILE_COLUMNS = ("WORKLOAD", "HOST", "CALLS", "FILE", "FINDINGS")

MOST = 5
"""As many destinations of a workload `wide` names."""
NAMED = 3
"""As many hosts the next command names; of more it says `--all`."""


def inspect_table(report: InspectReport, wide: bool = False, width: int | None = None, colour: bool = False) -> str:
    """The table, the counters of PassthroughCluster by workload, and the findings; '' where nothing was found.

    One line for each workload and host; `wide`: one for each call site. `width` wraps the findings' messages.
    """
    rows = InspectRows(wide, colour, in_files=report.in_files, spaces=not report.namespace).more(report)
    rest = inspect_rest(report, wide, width, colour)
    return "\n".join(part for part in (rows, rest) if part)


class InspectRows:
    """The table of items, part by part: of each namespace as soon as it has been read."""

    def __init__(
        self, wide: bool = False, colour: bool = False, *, in_files: bool = False, spaces: bool = True
    ) -> None:
        """`spaces`: with a column for the namespace."""
        columns = FILE_COLUMNS if in_files else COLUMNS
        more = (*WIDE_COLUMNS, *(() if in_files else (LIVE_COLUMN,))) if wide else ()
        headers = (*(("NAMESPACE",) if spaces else ()), *columns, *more)
        self._table = GrowingTable(headers)
        self._wide, self._colour, self._in_files, self._spaces = wide, colour, in_files, spaces

    def more(self, report: InspectReport) -> str:
        """The lines of a report's items."""
        rows = [row for item in report.items for row in self._rows(item)]
        return highlighted(self._table.more(rows), self._colour)

    def _rows(self, item: InspectItem) -> Iterator[tuple[str, ...]]:
        namespace = (item.workload.namespace,) if self._spaces else ()
        name, host, codes = short_name(item.workload), str(item.host), _codes(item)
        if self._in_files:
            cells = (*namespace, name, host, _calls(item), _places(item.call_sites), codes)
        else:
            sight = str(item.visibility) if item.called else ""
            cells = (*namespace, name, host, sight, _calls(item), _fails(item), codes)
        if not self._wide:
            yield cells
        seen = () if self._in_files else (_wire(item),)
        if self._wide and not item.call_sites:
            yield (*cells, *("" for _ in WIDE_COLUMNS), *seen)
        for site in item.call_sites if self._wide else ():
            one = (*namespace, name, host, _calls(item), _place(site), codes) if self._in_files else cells
            address = paths.kubectl_path(site.steps)
            yield (*one, site.container, short_name(site.object), address, *_url_and_reason(site), *seen)


def inspect_rest(report: InspectReport, wide: bool = False, width: int | None = None, colour: bool = False) -> str:
    """What stands below the table of items."""
    spaces = not report.namespace and not report.in_files
    told = report.passthrough if wide or not spaces else ()
    headers = (*(("NAMESPACE",) if spaces else ()), "WORKLOAD", "PASSTHROUGHCLUSTER", "PROXIES")
    headers = (*headers, "DESTINATIONS") if wide else headers
    parts = [
        table(headers, [_traffic_row(one, spaces, wide) for one in told if wide or _worth(one)]),
        findings_text(report.all_findings, width, grouped=not wide, spaces=spaces),
    ]
    return highlighted("\n".join(part for part in parts if part), colour)


def _url_and_reason(site: CallSite) -> tuple[str, str]:
    return shown_site(site), site.reason or site.url.reason


def _calls(item: InspectItem) -> str:
    schemes = Counter(site.url.scheme for site in item.calls)
    if not item.call_sites:
        return "on the wire"
    if not item.called:
        return "not called"
    return ",".join(f"{number} {scheme}" for scheme, number in sorted(schemes.items(), reverse=True))


def _wire(item: InspectItem) -> str:
    """What the sidecars have sent there, and how the host is known: `12 connections (matched by address)`."""
    return ", ".join(dict.fromkeys(f"{_amount(one)}{_known(one)}" for one in item.seen))


def _amount(one: Destination) -> str:
    parts = [counted(one.requests, "request")] if one.requests else []
    parts += [counted(one.connections, "connection")] if one.connections or not parts else []
    return ", ".join(parts)


def _known(one: Destination) -> str:
    if one.known_by is KnownBy.ADDRESS:
        return " (matched by address)"
    return f" (by {one.known_by})" if one.known_by else ""


def _fails(item: InspectItem) -> str:
    return "" if item.fails_closed is None else "closed" if item.fails_closed else "open"


def _codes(item: InspectItem) -> str:
    shown = [one for one in item.findings if one.severity is not Severity.INFO]
    return ",".join(dict.fromkeys(one.code for one in sorted(shown, key=lambda one: (RANK[one.severity], one.code))))


def _place(site: CallSite) -> str:
    return f"{site.file}:{site.line}" if site.file else ""


def _places(sites: tuple[CallSite, ...]) -> str:
    first, *others = dict.fromkeys(_place(site) for site in sites)
    return f"{first} (+{len(others)})" if others else first


def _worth(traffic: PassthroughTraffic) -> bool:
    """Whether there is something to say: anything sent, or anything that is not known."""
    return bool(traffic.connections or traffic.requests or traffic.blocked or traffic.unread or not traffic.proxies)


def _destinations(traffic: PassthroughTraffic) -> str:
    """`203.0.113.7:443, api.github.com:443 (by server name)`: as far as Envoy still knows them."""
    found = [f"{one.host.name}:{one.host.port}{_known(one)}" for one in traffic.destinations]
    return ", ".join(found[:MOST]) + (f", {len(found) - MOST} more" if len(found) > MOST else "")


def _traffic_row(traffic: PassthroughTraffic, spaces: bool, wide: bool) -> tuple[str, ...]:
    seen = f"{counted(traffic.connections, 'connection')}, {counted(traffic.requests, 'request')}"
    seen += f", {traffic.blocked} blocked" if traffic.blocked else ""
    total = max(traffic.pods, traffic.proxies + len(traffic.unread))
    space = (traffic.workload.namespace,) if spaces else ()
    row = (*space, short_name(traffic.workload), seen if traffic.proxies else "<unknown>", f"{traffic.proxies}/{total}")
    return (*row, _destinations(traffic)) if wide else row


def inspect_summary(report: InspectReport, options: str = "") -> str:
    """One line on how many hosts are seen how well, and the command to type next.

    `options`: what the user had typed to say where, to be typed again: `-n shop`, `-f deploy/`.
    """
    hosts = {item.host for item in report.items}
    if not hosts:
        where = f" in {report.namespace} namespace" if report.namespace else ""
        return f"No calls to external hosts found{where} ({counted(report.workloads, 'workload')} read).\n"
    lines = [f"{counted(len(hosts), 'external host')}{_levels(report)}."]
    if command := _next(report, options):
        lines.append(f"Next: kubectl egress {command}")
    return "\n".join(lines) + "\n"


def _next(report: InspectReport, options: str) -> str:
    if hosts := report.ready_hosts:
        named = map(str, hosts) if len(hosts) <= NAMED else ("--all",)
        return " ".join(["migrate", *named, *([options] if options else [])])
    stopped = sorted({one.code for one in report.all_findings if one.severity is Severity.BLOCK})
    return f"explain {stopped[0]}" if stopped else ""


def _levels(report: InspectReport) -> str:
    """Of each host the worst that any workload has: it is seen when all its callers are; a name that nobody calls is apart."""
    called = {item.host for item in report.items if item.called}
    uncalled = len({item.host for item in report.items} - called)
    if report.in_files:
        told = f", {uncalled} of them not called" if uncalled else ""
        return f" in files{told}; how well the mesh sees them, only a cluster knows"
    order = (Visibility.FULL, Visibility.NAMED, Visibility.OPAQUE, Visibility.UNKNOWN, Visibility.BLOCKED)
    worst: dict[Host, Visibility] = {}
    for item in (item for item in report.items if item.called):
        worst[item.host] = max(worst.get(item.host, item.visibility), item.visibility, key=order.index)
    numbers = Counter(worst.values())
    always = (Visibility.OPAQUE, Visibility.NAMED, Visibility.FULL)
    rest = tuple(level for level in (Visibility.BLOCKED, Visibility.UNKNOWN) if numbers[level])
    apart = [f"{uncalled} not called"] if uncalled else []
    return ": " + ", ".join([*(f"{numbers[level]} {level}" for level in (*always, *rest)), *apart])


def inspect_names(report: InspectReport) -> str:
    """Every workload that calls out, once, as `-o name` has it."""
    return "".join(
        f"{name}\n" for name in dict.fromkeys(resource_name(item.workload) for item in report.items if item.called)
    )


def inspect_document(report: InspectReport) -> dict[str, Any]:
    """The InspectReport as a document for `-o json` and `-o yaml`."""
    return {
        "apiVersion": API_VERSION,
        "kind": "InspectReport",
        "items": [_item_document(item) for item in report.items],
        "passthrough": [_traffic_document(traffic) for traffic in report.passthrough],
        "findings": [finding_document(finding) for finding in report.findings],
    }


def _item_document(item: InspectItem) -> dict[str, Any]:
    closed = {} if item.fails_closed is None else {"failsClosed": item.fails_closed}
    return {
        "workload": reference(item.workload),
        "host": item.host.name,
        "port": item.host.port,
        "visibility": str(item.visibility),
        **closed,
        "callSites": [site_document(site) for site in item.call_sites],
        **({"live": [_destination_document(one) for one in item.seen]} if item.seen else {}),
        "findings": [finding_document(finding) for finding in item.findings],
    }


def site_document(site: CallSite) -> dict[str, Any]:
    """A call site's part of a document; file and line where it came from one."""
    url, reason = _url_and_reason(site)
    place = {"file": site.file, "line": site.line} if site.file else {}
    return {
        "object": reference(site.object),
        "path": paths.kubectl_path(site.steps),
        "url": url,
        "container": site.container,
        "rewritable": site.rewritable,
        "reason": reason,
        **place,
    }


def _destination_document(one: Destination) -> dict[str, Any]:
    return {
        "host": one.host.name,
        "port": one.host.port,
        "cluster": one.cluster,
        "knownBy": str(one.known_by),
        "addresses": list(one.addresses),
        "connections": one.connections,
        "requests": one.requests,
        "errors": one.errors,
    }


def _traffic_document(traffic: PassthroughTraffic) -> dict[str, Any]:
    return {
        "workload": reference(traffic.workload),
        "connections": traffic.connections,
        "requests": traffic.requests,
        "blocked": traffic.blocked,
        "proxies": traffic.proxies,
        **({"pods": traffic.pods} if traffic.pods else {}),
        **(
            {"destinations": [_destination_document(one) for one in traffic.destinations]}
            if traffic.destinations
            else {}
        ),
        "unread": [{"pod": one.pod.name, "reason": urls.shown(one.reason)} for one in traffic.unread],
    }
