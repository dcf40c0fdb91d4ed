"""`kubectl egress list`: what is migrated, by which run, and what has drifted since."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from kubectl_egress.cli.options import AllNamespaces, Connection, Namespace, output_option
from kubectl_egress.cli.output import check_format, coloured, emit, emit_document, say, width

FORMATS = ("json", "yaml", "wide")
DRIFTED = 3


def list(  # the command's name
    connection: Connection,
    namespace: Namespace = "",
    all_namespaces: AllNamespaces = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 3 if anything has drifted.")] = False,
    output: Annotated[str, output_option(*FORMATS)] = "",
) -> int:
    """List what is migrated, by which run, and what has drifted since.

    Reads the journals, and holds against each of them the mesh objects, the workloads, the ConfigMaps and what the
    sidecars say. Changes nothing.

    \b
    Examples:
      kubectl egress list
      kubectl egress list -A -o wide
      kubectl egress list -A --exit-code -o json
    """
    check_format(output, FORMATS)
    from datetime import UTC, datetime

    from kubectl_egress.cli.list_cluster import migrations_of
    from kubectl_egress.report.migrations import migrations_document, migrations_summary, migrations_table

    found = migrations_of(namespace, all_namespaces, connection)
    if output in ("json", "yaml"):
        emit_document(migrations_document(found), output)
    else:
        emit(migrations_table(found, datetime.now(UTC), output == "wide", coloured(sys.stdout), width(sys.stdout)))
        say(migrations_summary(found))
    return DRIFTED if exit_code and found.drifts else 0
