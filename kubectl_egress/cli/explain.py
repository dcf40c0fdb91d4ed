"""`kubectl egress explain`: one page for a finding."""

from __future__ import annotations

from typing import Annotated

import typer

from kubectl_egress.cli.output import emit
from kubectl_egress.errors import EgressError, UsageError


def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="The code of a finding; none lists them all.")] = "",
) -> int:
    """Explain a finding: what it says, why it matters, what to do.

    \b
    Examples:
      kubectl egress explain
      kubectl egress explain no-sidecar
    """
    from kubectl_egress import findings
    from kubectl_egress.findings.rows import ROWS
    from kubectl_egress.report.table import table

    if not code:
        emit(table(("CODE", "SEVERITY", "MEANING"), [(row.code, str(row.severity), row.title) for row in ROWS]))
        return 0
    try:
        emit(findings.explain(code))
    except EgressError as error:
        raise UsageError(error.message, error.remedy) from error
    return 0
