"""`migrate` on a live cluster: survey → plan → question → transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kubectl_egress import findings, inspection, mesh
from kubectl_egress.apply import Conditions, transaction
from kubectl_egress.apply.answering import still_unread
from kubectl_egress.cli.authorities import certificates, check_certificates
from kubectl_egress.cli.calls import Calls
from kubectl_egress.cli.doing import Narration, before_the_first_write, hosts_text, new_lease, waited_for_others
from kubectl_egress.cli.migrate import (
    NOTHING_CALLED,
    Choice,
    Doing,
    refuse_blocked,
    refuse_secret_objects,
    show_plan,
)
from kubectl_egress.cli.near import by_name, check_called, secrets_unread
from kubectl_egress.cli.options import Connection
from kubectl_egress.cli.output import confirm, say
from kubectl_egress.cli.sources import check_forced, journals_of, refuse_blind
from kubectl_egress.cluster import Cluster, connect
from kubectl_egress.cluster.connection import parse_timeout
from kubectl_egress.cluster.guarding import guard_of, with_policies
from kubectl_egress.cluster.permissions import not_permitted
from kubectl_egress.cluster.proxies import pod_ref
from kubectl_egress.cluster.secrets import Secrets
from kubectl_egress.cluster.surroundings import services_of
from kubectl_egress.cluster.survey import is_leaving, survey
from kubectl_egress.cluster.targets import parse_targets
from kubectl_egress.errors import EgressError, NotFoundError, UnreachableError, UsageError
from kubectl_egress.findings.ports import towards
from kubectl_egress.model import CallSite, Finding, Guard, Host, Plan, ProxyUnread, Ref, Survey, Wait
from kubectl_egress.plan import MigrationRequest, baselines, calling, permissions, plan_migration
from kubectl_egress.report.plan import plan_question
from kubectl_egress.scan import is_identifier
from kubectl_egress.urls import parse_host

if TYPE_CHECKING:
    from kubectl_egress.apply.transaction import Progress


def migrate_cluster(
    hosts: Sequence[str], choice: Choice, doing: Doing, calls: Calls, connection: Connection, output: str
) -> int:
    """Migrate callers in a namespace of the cluster; the exit status."""
    asked = tuple(dict.fromkeys(parse_host(host) for host in hosts))
    places, forced = choice.places(), choice.forced()
    secrets = Secrets.NAMED if choice.include_secrets else Secrets.RECORDED
    cluster = connect(connection.options(choice.namespace, doing.field_manager))
    try:
        if calls.alias and len(asked) != 1:
            raise UsageError("--alias is one host's", "name the one host that NAME is to stand for")
        guard = guard_of(cluster, calls.guard_cidr) if calls.guard else None
        _check_authority(cluster, calls)

        def read() -> Survey:
            found = survey(cluster, hosts=None, places=places, secrets=secrets)
            found = _with_service(cluster, found, calls.alias)
            return with_policies(cluster, found) if guard else found

        seen = read()
        refuse_blind(seen)
        sites = inspection.call_sites(seen, places, forced)
        check_forced(forced, sites)
        workloads = _workloads(cluster, choice)
        wanted = (asked if calls.named else by_name(asked, sites)) or _all_hosts(seen, sites, workloads)
        if not wanted:
            more = secrets_unread((one.document for one in seen.workloads), with_secrets=seen.with_secrets)
            say(NOTHING_CALLED.format(f", as far as can be seen without{more}" if more else ""))
            return 0
        sites = sites if calls.named else towards(sites, wanted)
        plan = make_plan(seen, sites, wanted, workloads, choice, calls, guard)
        writing = doing.dry_run == "none" and not (output or doing.exit_code)
        if plan.steps and writing and waited_for_others(cluster, seen, plan.hosts):
            seen = read()
            sites = inspection.call_sites(seen, places, forced)
            sites = sites if calls.named else towards(sites, wanted)
            plan = make_plan(seen, sites, wanted, workloads, choice, calls, guard)
        if plan.steps and doing.dry_run != "client" and not (output or doing.exit_code):
            denied = not_permitted(cluster, permissions(plan.steps))
            seen = replace(seen, denied=(*seen.denied, *denied))
            plan = make_plan(seen, sites, wanted, workloads, choice, calls, guard) if denied else plan
        if output:
            refuse_secret_objects(plan, output)
            show_plan(plan, output)
            refuse_blocked(plan, frozenset(choice.ignore or ()))
            return 3 if doing.exit_code and plan.steps else 0
        return _ask_and_do(plan, cluster, seen, sites, doing, choice, calls, connection)
    finally:
        cluster.close()


def _with_service(cluster: Cluster, seen: Survey, name: str) -> Survey:
    """The survey with the Service of a short name, if there is one of ours; EgressError for one of somebody else's."""
    if not name or any(one.ref.kind == "Service" and one.ref.name == name for one in seen.mesh_objects):
        return seen
    names = {name, f"{name}.{seen.namespace}", f"{name}.{seen.namespace}.svc.{seen.settings.cluster_domain}"}
    routes = [one for one in seen.mesh_objects if one.ref.kind == "VirtualService" and not mesh.is_ours(one.body)]
    taken = [
        *(one for one in services_of(cluster, seen.namespace, [name]) if not mesh.is_ours(one.body)),
        *(one for one in routes if names & set((one.body.get("spec") or {}).get("hosts") or ())),
    ]
    if taken:
        raise EgressError(
            f"--alias {name}: {taken[0].ref.kind} {taken[0].ref.name} is there already, and somebody else's",
            "choose another name",
        )
    return replace(seen, mesh_objects=(*seen.mesh_objects, *services_of(cluster, seen.namespace, [name])))


def _workloads(cluster: Cluster, choice: Choice) -> frozenset[Ref] | None:
    """The workloads that `--workload` and `-l` mean; None without either."""
    if not choice.workload and not choice.selector:
        return None
    targets = parse_targets(choice.workload or ())
    narrowed = survey(cluster, targets, selector=choice.selector, live=False)
    return frozenset(workload.ref for workload in narrowed.workloads)


def _all_hosts(seen: Survey, sites: Sequence[CallSite], workloads: frozenset[Ref] | None) -> tuple[Host, ...]:
    chosen = [site for site in sites if workloads is None or site.workload in workloads]
    report = inspection.inspect(seen, chosen, findings.check(seen, chosen, None))
    if not report.ready_hosts and any(site.url.encrypted for site in chosen):
        raise EgressError(
            "there is no host that could be migrated", "kubectl egress inspect shows what there is, and why"
        )
    return report.ready_hosts


def _check_authority(cluster: Cluster, calls: Calls) -> None:
    """UsageError for a ConfigMap that is to hold CAs, and holds none."""
    name, _, key = calls.origination().get("ca", "").partition(":")
    if not name:
        return
    try:
        text = (cluster.get(Ref("ConfigMap", cluster.namespace, name)).get("data") or {}).get(key)
    except NotFoundError as error:
        raise UsageError(
            f"--ca: there is no ConfigMap {name} in namespace {cluster.namespace}", "make it first"
        ) from error
    if text is None:
        raise UsageError(f"--ca: ConfigMap {name} has no key {key}", f"write configmap/{name}:KEY")
    check_certificates(text, f"--ca: ConfigMap {name}")


def make_plan(
    seen: Survey,
    sites: Sequence[CallSite],
    hosts: tuple[Host, ...],
    workloads: frozenset[Ref] | None,
    choice: Choice,
    calls: Calls,
    guard: Guard | None = None,
) -> Plan:
    """The plan with its findings; EgressError for a host that nothing asked for calls."""
    if not (calls.named or calls.alias):
        # What a run has written down may be called by a short name, which no URL shows.
        short = {one.host for one in journals_of(seen) if one.origination.short_name}
        _check_called([host for host in hosts if host not in short], sites, workloads, seen)
    found = findings.check(seen, sites, hosts, fail_open=choice.fail_open, origination=calls.asked(), guard=guard)
    lease = new_lease()
    request = MigrationRequest(
        hosts=hosts,
        run=lease.run,
        by=lease.by,
        started=lease.since,
        fail_open=choice.fail_open,
        workloads=workloads,
        origination=calls.origination(),
        hold=calls.hold,
        bundle=certificates(calls.ca_file),
        guard=guard,
        named=calls.named,
        baseline=baselines(seen, sites, hosts),
    )
    if calls.named:
        # Nothing else can keep a name from being known, and nothing else changes.
        found = tuple(one for one in found if one.code in _OF_NAMES)
    plan = plan_migration(seen, sites, _concerning(found, workloads), request)
    left = [site for site in sites if site.server in hosts and (workloads is None or site.workload in workloads)]
    if plan.steps or any(site.url.encrypted for site in left):
        return plan
    # All is done: what would only stand in the way of doing it is of no interest any more.
    found = findings.check(seen, sites, hosts, fail_open=choice.fail_open, migrating=False, guard=guard)
    return replace(plan, findings=_concerning(found, workloads))


_OF_NAMES = ("host-not-visible", "no-permission")


def _concerning(found: Sequence[Finding], workloads: frozenset[Ref] | None) -> tuple[Finding, ...]:
    return tuple(one for one in found if workloads is None or one.workload is None or one.workload in workloads)


def _check_called(
    hosts: Sequence[Host], sites: Sequence[CallSite], workloads: frozenset[Ref] | None, seen: Survey
) -> None:
    called = {
        site.server for site in sites if (workloads is None or site.workload in workloads) and not is_identifier(site)
    }
    where = f"nothing in namespace {seen.namespace}" if workloads is None else "none of the chosen workloads"
    more = secrets_unread((one.document for one in seen.workloads), with_secrets=seen.with_secrets)
    check_called(hosts, called, where, f"kubectl egress inspect{more}", sites)


def _ask_and_do(
    plan: Plan,
    cluster: Cluster,
    seen: Survey,
    sites: Sequence[CallSite],
    doing: Doing,
    choice: Choice,
    calls: Calls,
    connection: Connection,
) -> int:
    refuse_blocked(plan, frozenset(choice.ignore or ()), show=True)
    if plan.steps and doing.dry_run != "client" and not doing.exit_code:
        check_sidecars(plan, seen, cluster)
    show_plan(plan, "")
    if doing.exit_code:
        return 3 if plan.steps else 0
    if not plan.steps:
        return 0
    if doing.dry_run == "client":
        say("Nothing was changed (client dry run).\n")
        return 0
    server = doing.dry_run == "server"
    if not server and not confirm(plan_question(plan), doing.yes):
        say("Nothing was changed.\n")
        return 1
    conditions = Conditions(
        timeout=parse_timeout(doing.timeout) or float("inf"),
        window=parse_timeout(doing.window) or 0.0,
        dry_run=server,
        calling=calling(seen, sites, plan.hosts),
    )
    perform(plan, cluster, conditions, connection, choice.again() + calls.again())
    done = f"{hosts_text(plan)}: {'known by name' if calls.named else 'migrated'}.\n"
    if calls.alias:
        done += (
            f"http://{calls.alias} reaches it too. What depends on the name does not work through it: signatures over Host, "
            "cookies by domain, links in answers.\n"
        )
    say("Nothing was changed (server dry run).\n" if server else done)
    return 0


def check_sidecars(plan: Plan, seen: Survey, cluster: Cluster) -> None:
    """Raise UnreachableError where a sidecar that has to be waited for does not answer: it would be waited for in vain."""
    waited = {ref for step in plan.steps if step.wait is Wait.PROXIES for ref in step.workloads}
    pods = [pod_ref(pod) for one in seen.workloads if one.ref in waited for pod in one.pods if not is_leaving(pod)]
    said = {pod: seen.proxies.get(pod) for pod in pods}
    silent = {pod: one for pod, one in said.items() if isinstance(one, ProxyUnread)}
    with before_the_first_write() as ticker:
        left = still_unread(cluster, sorted(waited), silent, ticker.now)
    for pod, unread in left.items():
        raise UnreachableError(
            f"nothing was changed: the sidecar of pod {pod.name} does not answer: {unread.reason}",
            f"kubectl logs {pod.name} -c istio-proxy -n {pod.namespace} says why; kubectl delete pod {pod.name} "
            f"-n {pod.namespace} makes a new one",
        )


def perform(plan: Plan, cluster: Cluster, conditions: Conditions, connection: Connection, asked: str = "") -> Progress:
    """Do a migration's plan, and say each outcome; an interruption says how to go on, with the flags `asked`, or back."""
    narration = Narration(plan, connection, asked=asked)
    said = replace(conditions, say=narration.now, way_back=narration.go_back())
    try:
        return transaction.migrate(plan, cluster, said, narration.outcome, narration.turned_back)
    except KeyboardInterrupt as interruption:
        raise narration.interrupted(interruption, dry_run=conditions.dry_run) from None
    finally:
        narration.ticker.end()
