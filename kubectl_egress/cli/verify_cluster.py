"""`verify` on a live cluster: journals → pairs of host and workload → verdicts, and what Prometheus adds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from kubectl_egress import findings, inspection, mesh
from kubectl_egress.apply import observe
from kubectl_egress.cli.options import Connection, History
from kubectl_egress.cli.sources import journals_of, refuse_blind
from kubectl_egress.cluster import Cluster, connect
from kubectl_egress.cluster.connection import parse_timeout
from kubectl_egress.cluster.survey import survey
from kubectl_egress.errors import EgressError
from kubectl_egress.model import Host, Judgement, Ref, Survey, Verdict
from kubectl_egress.urls import parse_host
from kubectl_egress.verify import Baseline, with_closing, without_bystanders

Say = Callable[[str], None]

PAUSE = 1.0
"""Seconds between two rounds of waiting."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says."""

    hosts: tuple[str, ...]
    namespace: str
    window: str
    connection: Connection
    history: History


def verdicts_of(asked: Asked, say: Say) -> tuple[Verdict, ...]:
    """A verdict for each host and each workload that calls it; EgressError when there is none to give."""
    hosts = [parse_host(host) for host in asked.hosts]
    cluster = connect(asked.connection.options(asked.namespace))
    try:
        return _verdicts(cluster, hosts, asked, parse_timeout(asked.window) or 0.0, say)
    finally:
        cluster.close()


def watched(asked: Asked, now: Say, line: Say) -> Iterator[tuple[Verdict, ...]]:
    """The verdicts of one window after the other, without end; what passes by itself is said, and outlived once it went well."""
    yield verdicts_of(asked, now)
    while True:
        try:
            yield verdicts_of(asked, now)
        except EgressError as error:
            if not error.passing:
                raise
            line(f"{error.message}; trying again")
        time.sleep(PAUSE)


def wait_for(wanted: str, asked: Asked, timeout: str, say: Say) -> tuple[Verdict, ...]:
    """The first verdicts that are all as `wanted`; the last ones, when the time is up or something leaks."""
    hosts = [parse_host(host) for host in asked.hosts]
    deadline = time.monotonic() + (parse_timeout(timeout) or float("inf"))
    cluster = connect(asked.connection.options(asked.namespace))
    try:
        while True:
            window = min(parse_timeout(asked.window) or 0.0, max(0.0, deadline - time.monotonic()))
            try:
                found = _verdicts(cluster, hosts, asked, window, say)
            except EgressError as error:
                if not error.passing or time.monotonic() + PAUSE >= deadline:
                    raise
                say(f"{error.message}; trying again")
            else:
                judgements = {verdict.judgement for verdict in found}
                late = time.monotonic() + PAUSE >= deadline
                if late or {str(one) for one in judgements} == {wanted} or Judgement.LEAKING in judgements:
                    return found
                say(f"waiting for {wanted}: {', '.join(sorted(judgements))}")
            time.sleep(PAUSE)
    finally:
        cluster.close()


def _verdicts(cluster: Cluster, hosts: Sequence[Host], asked: Asked, window: float, say: Say) -> tuple[Verdict, ...]:
    seen = survey(cluster, live=False)
    refuse_blind(seen)
    found = proven(cluster, seen, _pairs(seen, hosts), window, say)
    if not asked.history.prometheus:
        return found
    return _with_history(cluster, seen.namespace, found, asked.history)


def proven(
    cluster: Cluster, seen: Survey, pairs: Sequence[tuple[Host, Ref]], window: float, say: Say
) -> tuple[Verdict, ...]:
    """What the proxies prove of each pair, held against what the journals say of before, and what others have for its host."""
    before = {journal.host: Baseline.of(journal.baseline) for journal in journals_of(seen)}
    found = observe(cluster, pairs, window, say, latency=True, baselines=before, takers=takers_of(seen))
    sites = inspection.call_sites(seen)
    passed = findings.unclosed(seen, sites, list(dict.fromkeys(host for host, _ in pairs)))
    told = [with_closing(one, seen, journals_of(seen), sites, passed) for one in explained(found, seen)]
    return without_bystanders(told, journals_of(seen), sites)


def takers_of(seen: Survey) -> dict[Host, tuple[str, ...]]:
    """The hosts of entries of others that take every connection to a migrated host's alias, by migrated host."""
    found = {}
    for journal in journals_of(seen):
        entries = mesh.entries_claiming(journal.alias, seen.mesh_objects, journal.namespace)
        hosts = {str(host) for entry in entries for host in (entry.body.get("spec") or {}).get("hosts") or ()}
        if others := tuple(sorted(hosts - {journal.host.name})):
            found[journal.host] = others
    return found


def explained(verdicts: Sequence[Verdict], seen: Survey) -> tuple[Verdict, ...]:
    """Verdicts; the reason of each that is not verified ends with what others have for its host, which may be why."""
    if all(one.judgement is Judgement.VERIFIED for one in verdicts):
        return tuple(verdicts)
    others = findings.conflicts(seen)

    def told(verdict: Verdict) -> Verdict:
        about = [one for one in others if one.host == verdict.host and one.workload in (None, verdict.workload)]
        if verdict.judgement is Judgement.VERIFIED or not about:
            return verdict
        return replace(verdict, reason="; ".join([verdict.reason, *(f"{one.message}: {one.remedy}" for one in about)]))

    return tuple(map(told, verdicts))


def _with_history(
    cluster: Cluster, namespace: str, verdicts: Sequence[Verdict], history: History
) -> tuple[Verdict, ...]:
    """Each verdict with what Prometheus says; what it saw leave in clear counts, even when the proxies are calm now."""
    from kubectl_egress.cluster.prometheus import Prometheus
    from kubectl_egress.prometheus import disagreements, evidence, histories, queries

    seconds = parse_timeout(history.since) or 300.0
    prometheus = Prometheus(cluster, history.prometheus)
    answers, now = prometheus.ask(queries(namespace, seconds))
    told = histories([(one.host, one.workload) for one in verdicts], answers, seconds, now)
    found = []
    for verdict, one in zip(verdicts, told, strict=True):
        said = evidence(one, disagreements(one, _counted(verdict)), prometheus.name)
        if one.in_clear:
            reason = f"{one.in_clear} requests in clear in the last {history.since}, says Prometheus"
            verdict = replace(verdict, judgement=Judgement.LEAKING, reason=reason)
        found.append(replace(verdict, history=said))
    return tuple(found)


def _counted(verdict: Verdict) -> int | None:
    """Requests to the host since the proxies started, as they say; None where none of them could be asked."""
    known = [pod.evidence["seen"]["sinceStart"] for pod in verdict.pods if "seen" in pod.evidence]
    return sum(known) if known else None


def _pairs(seen: Survey, asked: Sequence[Host]) -> list[tuple[Host, Ref]]:
    """What the journals name, and who else calls a host in clear; a host that was asked for needs no journal."""
    journals = journals_of(seen)
    hosts = asked or sorted(journal.host for journal in journals)
    known = {(journal.host, caller.workload) for journal in journals for caller in journal.callers}
    present = {workload.ref for workload in seen.workloads}
    # A short name is anybody's to call.
    known |= {(one.host, ref) for one in journals if one.origination.short_name and not one.callers for ref in present}
    calling = {(site.server, site.workload) for site in inspection.call_sites(seen) if not site.url.encrypted or asked}
    pairs = sorted(pair for pair in known | calling if pair[0] in hosts and pair[1] in present)
    if pairs:
        return pairs
    if asked:
        raise EgressError(
            f"nothing in namespace {seen.namespace} calls {', '.join(map(str, asked))}",
            "kubectl egress inspect shows what is called",
        )
    if named := ", ".join(str(journal.host) for journal in journals if journal.named):
        raise EgressError(
            f"there is nothing to prove in namespace {seen.namespace}: of {named} the mesh knows the name alone",
            "its callers encrypt by themselves; kubectl egress migrate HOST has the sidecars do it",
        )
    raise EgressError(f"nothing is migrated in namespace {seen.namespace}", "give -n NAMESPACE for another namespace")
