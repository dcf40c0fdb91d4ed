"""Whether what a plan writes makes a workload fail closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubectl_egress.findings import unclosed
from kubectl_egress.model import CallSite, Host, Ref, Survey


def fails_closed(
    survey: Survey, sites: Sequence[CallSite], hosts: Sequence[Host], *, fail_open: bool
) -> Mapping[Ref, bool]:
    """By workload of the sites: whether the aliases of the hosts close it. A guard does not count: nobody knows if it is enforced."""
    passed_by = {workload for workload, _ in unclosed(survey, sites, hosts)}
    return {
        ref: not fail_open and not passed_by & {None, ref} for ref in dict.fromkeys(site.workload for site in sites)
    }
