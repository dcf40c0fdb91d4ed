"""A host's route while its entry comes or goes: TLS connections go on past the entry.

istiod gives a proxy the clusters of an entry first and its listeners afterwards, and a cluster serves only once its name is
resolved. So there is a moment in which the listener leads to a cluster that is not there yet, or is gone: every new TLS
connection to the host is reset in it (10 to 30 ms of each proxy, measured with Istio 1.31). A `tls` route that takes a
connection to no address of any server leaves them where they were without the entry (none was reset: 1.18 and 1.31).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from kubectl_egress.model import Body, Host

NO_DESTINATION = "192.0.2.255/32"
"""Of the documentation prefix, and no host's alias: the network's last address is never given away."""
TLS_PROTOCOLS = ("HTTPS", "TLS")


def encrypted_ports(entry: Body) -> tuple[int, ...]:
    """The ports of a ServiceEntry at which TLS connections are told apart by their SNI."""
    ports = (entry.get("spec") or {}).get("ports") or ()
    return tuple(port["number"] for port in ports if str(port.get("protocol", "")).upper() in TLS_PROTOCOLS)


def passing(route: Body, entry: Body, host: Host) -> Body:
    """Our VirtualService of a host, with TLS connections taken past `entry`, its ServiceEntry; the rest of it as it is."""
    past = [_past(host.name, number) for number in encrypted_ports(entry)]
    return {**route, "spec": {**(route.get("spec") or {}), "tls": past}}


def before_entry(route: Body, entry: Body, host: Host) -> Body:
    """The same as long as the entry is not there, without HTTP routes: these would lead who calls in clear to a 503.

    Once the entry is there, port 80 goes to its own cluster, which originates TLS too.
    """
    found = passing(route, entry, host)
    return {**found, "spec": {key: value for key, value in found["spec"].items() if key != "http"}}


def _past(host: str, port: int) -> Mapping[str, Any]:
    match = {"port": port, "sniHosts": [host], "destinationSubnets": [NO_DESTINATION]}
    return {"match": [match], "route": [{"destination": {"host": host, "port": {"number": port}}}]}


def is_passing(route: Body) -> bool:
    """Whether a VirtualService is one of those."""
    matches = [match for tls in (route.get("spec") or {}).get("tls") or () for match in tls.get("match") or ()]
    return bool(matches) and all(match.get("destinationSubnets") == [NO_DESTINATION] for match in matches)


def settled(route: Body) -> Body:
    """The VirtualService without what takes TLS connections past the entry."""
    found = copy.deepcopy(dict(route))
    if is_passing(route):
        del found["spec"]["tls"]
    return found
