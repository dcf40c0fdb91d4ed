"""Objects of others that would keep the migration's own from having their effect, or take something from others."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from kubectl_egress import mesh
from kubectl_egress.findings.scope import Found, Scope, title
from kubectl_egress.model import Body, Document, Host, Ref
from kubectl_egress.proxy.routing import route_of

_APART = "it is newer and has another exportTo, so it may be in effect as a whole, without our subset"
_NOWHERE = (ipaddress.ip_network(mesh.ALIAS_NETWORK), ipaddress.ip_network(mesh.ALIAS_NETWORK_V6))


def _found(scope: Scope, host: Host, namespace: str, document: Document, message: str, remedy: str) -> Iterator[Found]:
    for workload in scope.concerned(host, namespace):
        yield Found(message, remedy, workload, host, document.ref)


def _show(ref: Ref) -> str:
    return f"kubectl get {ref.kind.lower()} {ref.name} -n {ref.namespace} -o yaml"


# ---- rule-shadowed --------------------------------------------------------------------------------------------------


def rule_shadowed(scope: Scope) -> Iterator[Found]:
    """Another DestinationRule of the namespace names the host, and ours would not be the one in effect, or not alone.

    Wildcard rules do not count: the rule that names the host is more specific. Nor do those of other namespaces: any
    match in the caller's own ends the search.
    """
    for namespace, host in scope.pairs:
        chosen = scope.chosen("DestinationRule", host, namespace)
        rules = [rule for rule in scope.naming("DestinationRule", host) if rule.ref.namespace == namespace]
        for number, rule in enumerate(rules):
            if chosen is not None and rule.ref == chosen.ref:
                continue
            reason = mesh.fits(rule.body, host)
            older = chosen is not None and number < rules.index(chosen)
            apart = chosen is not None and not older and mesh.stands_apart(rule.body, chosen.body)
            if reason or older or apart:
                message = f"{title(rule.ref)} is for the same host, and "
                message += reason or ("it is older, so its policy is the one in effect" if older else _APART)
                remedy = f"merge it into ours and delete it, or make it fit: {_show(rule.ref)}"
                yield from _found(scope, host, namespace, rule, message, remedy)
        yield from _rule_in_effect(scope, host, namespace, chosen)


def _rule_in_effect(scope: Scope, host: Host, namespace: str, chosen: Document | None) -> Iterator[Found]:
    """The proxies' own word, where the namespace's rule is there and another one is applied."""
    for ref, proxy in scope.proxies(namespace) if chosen else ():
        named = [one for one in proxy.upstreams if (one.host, one.port, one.subset) == (host.name, mesh.CLEAR_PORT, "")]
        others = [one.config_source for one in named if one.config_source and not _names(one.config_source, chosen)]
        # The oldest of rules that were merged gives them its name: another finding.
        known = {rule.ref.name for rule in scope.naming("DestinationRule", host) if rule.ref.namespace == namespace}
        if others and _object(others[0]).name not in known:
            other = _object(others[0])
            yield Found(
                f"in pod {ref.name} {title(other)} is in effect for the host, not {title(chosen.ref) if chosen else ''}",
                f"see why: {_show(other)}",
                scope.workload_of(ref),
                host,
                other,
            )


def _object(source: str) -> Ref:
    """`/apis/networking.istio.io/v1/namespaces/NS/destination-rule/NAME`, as istiod writes it, as a Ref."""
    parts = source.strip("/").split("/")
    kind = "".join(word.capitalize() for word in parts[-2].split("-")) if len(parts) > 3 else ""
    return Ref(kind, parts[-3] if len(parts) > 3 else "", parts[-1])


def _names(source: str, document: Document | None) -> bool:
    found = _object(source)
    return document is not None and (found.namespace, found.name) == (document.ref.namespace, document.ref.name)


# ---- entry-conflict -------------------------------------------------------------------------------------------------


def entry_conflict(scope: Scope) -> Iterator[Found]:
    """Another ServiceEntry says something else of the host, or would catch its calls by address or port."""
    catching = [entry for entry in scope.objects("ServiceEntry") if _catches(entry.body)]
    for namespace, host in scope.pairs:
        chosen = scope.chosen("ServiceEntry", host, namespace)
        same = scope.naming("ServiceEntry", host)
        reasons = [(entry, _contradiction(scope, entry, host, namespace, chosen)) for entry in same]
        reasons += [(entry, _catch(scope, entry, host, namespace)) for entry in catching if entry not in same]
        for entry, reason in reasons:
            if reason and mesh.exported_to(entry, namespace):
                remedy = f"change or delete it: {_show(entry.ref)}"
                yield from _found(scope, host, namespace, entry, f"{title(entry.ref)} {reason}", remedy)
        if not same:
            yield from _unseen_entry(scope, host, namespace)


def _unseen_entry(scope: Scope, host: Host, namespace: str) -> Iterator[Found]:
    """The proxies know the host by an entry that could not be read: ports that one of our own would hide."""
    for ref, proxy in scope.proxies(namespace):
        ports = {one.port for one in proxy.upstreams if one.host == host.name and one.direction == "outbound"}
        hidden = sorted(ports - {mesh.CLEAR_PORT, mesh.TLS_PORT, host.port})
        if hidden:
            yield Found(
                f"pod {ref.name} knows port {', '.join(map(str, hidden))} of the host by an entry that could not be read; one of "
                "this namespace would hide it",
                "ask for the permission to list serviceentries in all namespaces, and look at that entry",
                scope.workload_of(ref),
                host,
            )
            return


def _contradiction(scope: Scope, entry: Document, host: Host, namespace: str, chosen: Document | None) -> str:
    """What an entry for the same host has against the one that is needed."""
    if chosen is not None and entry.ref == chosen.ref:
        return ""
    if entry.ref.namespace != namespace:
        return _loss(entry.body, host)
    reason = mesh.fits(entry.body, host, fail_open=scope.fail_open)
    if reason:
        return f"is for the same host, and {reason}"
    return f"is for the same host as {title(chosen.ref)}" if chosen else ""


def _loss(body: Body, host: Host) -> str:
    """What the namespace would lose if an entry of its own hid this one: only one entry of a host is in effect."""
    spec = body.get("spec") or {}
    ports = sorted(
        {port.get("number") for port in spec.get("ports") or ()} - {mesh.CLEAR_PORT, mesh.TLS_PORT, host.port}
    )
    if ports:
        return f"is for the same host, and its port {', '.join(map(str, ports))} would be hidden by an entry of this namespace"
    led = mesh.led_to(body)
    if led not in (0, host.port):
        return f"is for the same host, and leads its port 80 to port {led} of the server"
    if spec.get("endpoints") or spec.get("workloadSelector"):
        return "is for the same host, and its endpoints would be hidden by an entry of this namespace"
    return ""


def _catches(body: Body) -> bool:
    """Whether an entry catches by address what an alias leads to, or everything on port 80."""
    return _catches_port(body) or any(
        network.overlaps(nowhere)
        for network in _addresses(body)
        for nowhere in _NOWHERE
        if network.version == nowhere.version
    )


def _catch(scope: Scope, entry: Document, host: Host, namespace: str) -> str:
    """What an entry of another host would catch of this one's calls."""
    if _catches_port(entry.body):
        return "takes everything on port 80, whatever the address: a TCP port 80 without addresses"
    if scope.fail_open:
        return ""
    ours = [ipaddress.ip_address(address) for address in scope.aliases(host, namespace)]
    claimed = any(address in network for network in _addresses(entry.body) for address in ours)
    return "claims the address that the host's alias leads to" if claimed else ""


def _catches_port(body: Body) -> bool:
    spec = body.get("spec") or {}
    raw = (port for port in spec.get("ports") or () if str(port.get("protocol", "")).upper() in mesh.RAW)
    return not spec.get("addresses") and any(port.get("number") == mesh.CLEAR_PORT for port in raw)


def _addresses(body: Body) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for text in (body.get("spec") or {}).get("addresses") or ():
        try:
            yield ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue  # refused by Istio's validation


# ---- route-conflict -------------------------------------------------------------------------------------------------


def route_conflict(scope: Scope) -> Iterator[Found]:
    """A VirtualService of somebody else routes the host; sidecars use one for a host, and do not merge them.

    Wildcards do not count (the one that names the host is used), nor do routes by SNI alone: they concern port 443.
    """
    for namespace, host in scope.pairs:
        for route in mesh.routes_for(host.name, scope.naming("VirtualService", host), namespace):
            spec = route.body.get("spec") or {}
            if mesh.is_ours(route.body) or not (spec.get("http") or spec.get("tcp")):
                continue
            message = f"{title(route.ref)} routes the host already, and only one VirtualService of a host is used"
            remedy = f"take the host out of it, or bind it to gateways alone (spec.gateways): {_show(route.ref)}"
            yield from _found(scope, host, namespace, route, message, remedy)
        yield from _route_in_effect(scope, host, namespace)


def _route_in_effect(scope: Scope, host: Host, namespace: str) -> Iterator[Found]:
    """The proxies' own word, where the route's object could not be read."""
    own = scope.chosen("VirtualService", host, namespace)
    known = {one.ref.name for one in scope.objects("VirtualService")}
    for ref, proxy in scope.proxies(namespace):
        route = route_of(host, proxy)
        source = route.config_source if route and "*" not in route.domains else ""
        if source and not _names(source, own) and _object(source).name not in known | {mesh.object_name(host)}:
            other = _object(source)
            yield Found(
                f"in pod {ref.name} {title(other)} routes the host, and it could not be read",
                f"see whether it can leave the host out: {_show(other)}",
                scope.workload_of(ref),
                host,
                other,
            )
            return


# ---- host-not-visible -----------------------------------------------------------------------------------------------


def host_not_visible(scope: Scope) -> Iterator[Found]:
    """The caller's proxy would not see the entry: a Sidecar leaves it out, or it is not exported to the namespace."""
    for caller in scope.callers:
        sidecar = _sidecar(scope, caller.ref.namespace, caller.metadata("labels"))
        for host in caller.hosts:
            entry = scope.chosen("ServiceEntry", host, caller.ref.namespace)
            if entry is not None and not mesh.exported_to(entry, caller.ref.namespace):
                yield Found(
                    f"{title(entry.ref)} is not exported to its own namespace",
                    f'add "." to its spec.exportTo: kubectl edit serviceentry {entry.ref.name} -n {entry.ref.namespace}',
                    caller.ref,
                    host,
                    entry.ref,
                    ("spec", "exportTo"),
                )
            hidden = _hidden(sidecar, host, caller.ref.namespace) if sidecar else None
            if sidecar and hidden:
                message, remedy = hidden
                yield Found(
                    f"{title(sidecar.ref)} {message}",
                    f"{remedy}: kubectl edit sidecar {sidecar.ref.name} -n {sidecar.ref.namespace}",
                    caller.ref,
                    host,
                    sidecar.ref,
                    ("spec", "egress"),
                )


def _sidecar(scope: Scope, namespace: str, labels: Mapping[str, str]) -> Document | None:
    """The Sidecar that holds for pods with these labels: one that selects them, the namespace's, the root namespace's."""
    sidecars = scope.objects("Sidecar")
    local = [one for one in sidecars if one.ref.namespace == namespace]
    selecting = [one for one in local if _selector(one) and _selector(one).items() <= labels.items()]
    general = [one for one in local if not _selector(one)]
    root = [one for one in sidecars if one.ref.namespace == scope.survey.settings.root_namespace and not _selector(one)]
    return next(iter([*selecting, *general, *root]), None)


def _selector(sidecar: Document) -> dict[str, str]:
    selector = (sidecar.body.get("spec") or {}).get("workloadSelector") or {}
    return dict(selector.get("labels") or selector.get("matchLabels") or {})


def _hidden(sidecar: Document, host: Host, namespace: str) -> tuple[str, str] | None:
    """How the Sidecar keeps the host from its proxies, and what to do about it; None if it does not."""
    listeners = (sidecar.body.get("spec") or {}).get("egress") or []
    if any((one.get("port") or {}).get("number") == mesh.CLEAR_PORT for one in listeners):
        return "has an egress listener of its own on port 80, which catches the calls", "remove that listener's port"
    scopes = [str(entry) for one in listeners for entry in one.get("hosts") or ()]
    if listeners and not any(_shows(entry, host, namespace) for entry in scopes):
        shown = ", ".join(scopes[:3]) + (", …" if len(scopes) > 3 else "")
        return f"shows its proxies {shown or 'nothing'}, not this host", f'add "./{host.name}" to its egress hosts'
    return None


def _shows(entry: str, host: Host, namespace: str) -> bool:
    where, _, name = entry.rpartition("/")
    return where in ("*", ".", "", namespace) and mesh.covers(name, host.name)
