"""Values to text: tables, plans, documents and diffs; nothing here reads, prints or decides."""

from __future__ import annotations

from kubectl_egress.report.checks import failing, github_commands, sarif_document
from kubectl_egress.report.diff import body_diff, text_diff
from kubectl_egress.report.findings import finding_document, findings_text
from kubectl_egress.report.inspect import (
    InspectRows,
    inspect_document,
    inspect_names,
    inspect_rest,
    inspect_summary,
    inspect_table,
)
from kubectl_egress.report.junit import verify_junit
from kubectl_egress.report.migrations import migrations_document, migrations_summary, migrations_table
from kubectl_egress.report.plan import (
    object_list,
    outcome_line,
    outcomes_text,
    plan_document,
    plan_objects,
    plan_question,
    plan_text,
    refusal_text,
)
from kubectl_egress.report.verify import all_verified, verify_document, verify_summary, verify_table

__all__ = [
    "InspectRows",
    "all_verified",
    "body_diff",
    "failing",
    "finding_document",
    "findings_text",
    "github_commands",
    "inspect_document",
    "inspect_names",
    "inspect_rest",
    "inspect_summary",
    "inspect_table",
    "migrations_document",
    "migrations_summary",
    "migrations_table",
    "object_list",
    "outcome_line",
    "outcomes_text",
    "plan_document",
    "plan_objects",
    "plan_question",
    "plan_text",
    "refusal_text",
    "sarif_document",
    "text_diff",
    "verify_document",
    "verify_junit",
    "verify_summary",
    "verify_table",
]
