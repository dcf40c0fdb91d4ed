"""`kubectl egress undo`: back to https, then remove what was added."""

from __future__ import annotations

from typing import Annotated

import typer

from kubectl_egress.cli.migrate import Hosts, Timeout, check_dry_run, check_durations, check_hosts, show_plan
from kubectl_egress.cli.options import Connection, FieldManager, Namespace, Yes
from kubectl_egress.cli.output import confirm, say


def undo(
    connection: Connection,
    hosts: Hosts = None,
    namespace: Namespace = "",
    every: Annotated[bool, typer.Option("--all", help="Every host that is migrated in the namespace.")] = False,
    yes: Yes = False,
    dry_run: Annotated[
        str, typer.Option("--dry-run", metavar="WHERE", help='Must be "none", "server", or "client".')
    ] = "none",
    timeout: Timeout = "5m",
    field_manager: FieldManager = "kubectl-egress",
) -> int:
    """Put everything back as it was before a host was migrated.

    URLs, aliases and references first; then, when no pod with an http:// URL is left, the mesh objects; then the journal.
    A value that somebody else has changed since is left alone, and said.

    \b
    Examples:
      kubectl egress undo httpbin.org
      kubectl egress undo --all -n shop
    """
    check_hosts(hosts, every, "undo", "kubectl egress verify shows which are migrated")
    check_dry_run(dry_run)
    check_durations(timeout=timeout)
    from kubectl_egress.cli.undo_cluster import make_plan, perform
    from kubectl_egress.cluster import connect
    from kubectl_egress.report.plan import plan_question

    cluster = connect(connection.options(namespace, field_manager))
    try:
        plan = make_plan(cluster, hosts or [], writing=dry_run == "none")
        show_plan(plan, "")
        if dry_run == "client" or not plan.steps:
            say("Nothing was changed (client dry run).\n" if plan.steps else "")
            return 0
        if dry_run == "none" and not confirm(plan_question(plan), yes):
            say("Nothing was changed.\n")
            return 1
        perform(plan, cluster, timeout, dry_run == "server", connection)
    finally:
        cluster.close()
    return 0
