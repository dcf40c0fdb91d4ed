"""Where port 80 of a host's name leads: to one port of the server, the same for all who call `http://HOST`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from kubectl_egress import mesh
from kubectl_egress.errors import EgressError
from kubectl_egress.findings.scope import Caller, Found, Scope
from kubectl_egress.journal import Journal, from_config_map
from kubectl_egress.model import CallSite, Document, Host, Survey


def led(sites: Sequence[CallSite], survey: Survey) -> tuple[CallSite, ...]:
    """The sites, `http://HOST` with the server's port to which it is led already: by a migration, or by somebody's entry."""
    known = {(one.namespace, one.host.name): one.host.port for one in _journals(survey) if not one.named}
    leading = {
        str(name).lower()
        for one in mesh.of_kind("ServiceEntry", survey.mesh_objects)
        for name in (one.body.get("spec") or {}).get("hosts") or ()
        if mesh.led_to(one.body) not in (0, mesh.TLS_PORT)
    }

    @cache
    def port(host: str, namespace: str) -> int:
        if (namespace, host) in known or host not in leading:
            return known.get((namespace, host), 0)
        entries = mesh.entries_for(host, survey.mesh_objects, namespace)
        return mesh.led_to(entries[0].body) if entries else 0

    return tuple(
        replace(site, led_to=there) if (there := port(site.host.name, site.workload.namespace)) else site
        for site in sites
    )


def _journals(survey: Survey) -> Iterator[Journal]:
    """Those that can be read; of others, whoever needs one says why not."""
    for document in survey.journals:
        with contextlib.suppress(EgressError):
            yield from_config_map(document.body)


def towards(sites: Iterable[CallSite], asked: Iterable[Host]) -> tuple[CallSite, ...]:
    """The sites as they are once these hosts are migrated: `http://HOST` is led to the port that was asked for."""
    ports = {host.name: host.port for host in asked}
    return tuple(site if site.led_to else replace(site, led_to=ports.get(site.host.name, 0)) for site in sites)


def two_ports(scope: Scope, caller: Caller) -> Iterator[Found]:
    """The host is called at two ports over TLS, or another one is migrated: `http://HOST` can be one of them only."""
    asked = [host for namespace, host in scope.pairs if namespace == caller.ref.namespace]
    for host in caller.hosts:
        message, remedy = taken(host, caller.ref.namespace, asked, scope.journals, scope.survey.mesh_objects)
        if message:
            site = next(iter(caller.uses(host)), None)
            where, steps = (site.object, site.steps) if site else (caller.ref, ())
            yield Found(message, remedy, caller.ref, host, where, steps)


def taken(
    host: Host,
    namespace: str,
    asked: Iterable[Host],
    journals: Iterable[Journal],
    documents: Sequence[Document],
    *,
    named: bool = False,
) -> tuple[str, str]:
    """Why port 80 of the name cannot lead to the host's port, and what to do; empty if it can.

    `asked`: the hosts that are to be migrated together; `journals` and `documents`: what is there already. `named`: port 80
    is to lead nowhere, but entry and journal are one for each name all the same.
    """
    if host.port == mesh.CLEAR_PORT and not named:
        return "http:// needs port 80 for itself, where this host speaks TLS", "leave it on https"
    if host.wildcard and host.port != mesh.TLS_PORT and not named:
        return (
            f"at port {host.port} the server has to get its own name in Host, and a wildcard has no one name",
            "migrate its hosts by name",
        )
    journal = next((one for one in journals if (one.namespace, one.host.name) == (namespace, host.name)), None)
    if journal is not None and journal.host != host:
        how = "known by name" if journal.named else "migrated"
        return (
            f"{journal.host} is {how} in namespace {namespace}, and port 80 of a name can lead to one port alone",
            f"leave {host} on https, where its calls go on; or kubectl egress undo {journal.host} first",
        )
    entry = _entry(host, namespace, documents)
    led = mesh.led_to(entry.body) if entry else 0
    if entry and led not in (0, host.port):
        return (
            f"ServiceEntry {entry.ref.name} leads port 80 of {host.name} to port {led}, and it can lead to one port alone",
            f"leave {host} on https, where its calls go on; or take that migration back first",
        )
    ports = sorted({one.port for one in asked if one.name == host.name} | {host.port})
    if len(ports) > 1 and not (journal or led):
        return (
            f"port 80 of {host.name} can lead to one port of it alone, not to {' and '.join(map(str, ports))}",
            f"migrate one of them: kubectl egress migrate {host}; calls to the other stay on https, and go on",
        )
    return "", ""


def _entry(host: Host, namespace: str, documents: Sequence[Document]) -> Document | None:
    """Our own entry of the name; somebody else's that does not fit is another finding."""
    return next(
        (
            entry
            for entry in mesh.of_kind("ServiceEntry", documents)
            if entry.ref.namespace == namespace
            and mesh.is_ours(entry.body)
            and host.name in ((entry.body.get("spec") or {}).get("hosts") or ())
        ),
        None,
    )
