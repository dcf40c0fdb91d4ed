"""One port of a host for each name: an entry that led elsewhere all at once would take its callers along."""

from __future__ import annotations

from collections.abc import Sequence

from kubectl_egress.errors import EgressError
from kubectl_egress.findings.ports import taken
from kubectl_egress.journal import Journal
from kubectl_egress.model import Host, Survey


def refuse_two_ports(
    hosts: Sequence[Host], survey: Survey, journals: Sequence[Journal], *, named: bool = False
) -> None:
    """EgressError for a host of which port 80 cannot lead to its port: another one's does, or is to.

    `named`: the hosts are to be known by name alone.
    """
    for host in hosts:
        message, remedy = taken(host, survey.namespace, hosts, journals, survey.mesh_objects, named=named)
        if message:
            raise EgressError(message, remedy)
