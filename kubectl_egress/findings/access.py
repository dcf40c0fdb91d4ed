"""What could not be read: a migration decides nothing on what it has not seen."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_egress.findings.scope import Found, Scope
from kubectl_egress.model import Denied, Severity

# Without these of its own namespace, no plan is safe; what is missing elsewhere may only hide a conflict.
_NEEDED = ("pods", "replicasets", "configmaps", "serviceentries", "destinationrules", "virtualservices")


def no_permission(scope: Scope) -> Iterator[Found]:
    """Reads that were refused, or resources that the cluster does not have."""
    for denied in scope.survey.denied:
        where = f"in namespace {denied.namespace}" if denied.namespace else "in all namespaces"
        yield Found(
            f"may not {denied.verb} {denied.resource} {where}: {denied.message}",
            f"ask for the permission, and check it: kubectl auth can-i {denied.verb} {denied.resource}"
            + (f" -n {denied.namespace}" if denied.namespace else " -A"),
            severity=Severity.BLOCK if _needed(scope, denied) else Severity.WARN,
        )


def _needed(scope: Scope, denied: Denied) -> bool:
    """Whether it is of a namespace that a plan concerns; what may not be listed everywhere was read close by."""
    callers = {caller.ref.namespace for caller in scope.callers}
    return denied.resource.partition(".")[0] in _NEEDED and denied.namespace in {*callers, scope.survey.namespace}
