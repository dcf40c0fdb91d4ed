"""The three mesh objects of a host: made anew, or taken over field by field where one that fits is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kubectl_egress import mesh
from kubectl_egress.errors import EgressError
from kubectl_egress.model import AS_BEFORE, Body, CallSite, Document, Host, Origination, Ref, Survey
from kubectl_egress.plan.allocation import allocates


@dataclass(frozen=True, slots=True)
class MeshChange:
    """One mesh object before (None: not there) and after."""

    ref: Ref
    before: Body | None
    after: Body
    title: str


def wanted_objects(
    host: Host,
    survey: Survey,
    aliases: Sequence[str],
    export_to: Sequence[str],
    *,
    fail_open: bool,
    origination: Origination = AS_BEFORE,
    tls_ports: Sequence[int] = (),
) -> Iterator[MeshChange]:
    """DestinationRule, ServiceEntry, VirtualService, in the order in which they may be applied; also those that fit as they are.

    `tls_ports`: others that callers use over TLS. The rule is exported as widely as the entry: whoever sees only the entry would send clear text to port 443.
    """
    found = {
        kind: _present(kind, host, survey, fail_open) for kind in ("DestinationRule", "ServiceEntry", "VirtualService")
    }
    rule, entry = found["DestinationRule"], found["ServiceEntry"]
    _refuse_theirs(rule, host, origination)
    exported = entry.body["spec"].get("exportTo") or ["*"] if entry else list(export_to)
    alias = aliases[0] if aliases else ""
    namespace = survey.namespace
    yield _change(
        found["DestinationRule"],
        mesh.destination_rule(host, namespace, export_to=exported, origination=origination),
        "the sidecar originates TLS on port 80, and checks CA and host name",
    )
    yield _change(
        entry,
        mesh.service_entry(
            host,
            namespace,
            alias=alias,
            claims=aliases if allocates(survey) else (),
            fail_open=fail_open,
            tls_ports=tls_ports,
            export_to=exported,
        ),
        "the mesh knows the host; port 80 goes to the server's TLS port",
    )
    yield _change(
        found["VirtualService"],
        mesh.virtual_service(host, namespace, export_to=exported, origination=origination),
        "port 80 of the host goes to the rule's subset, and nothing else changes"
        + (f": the server gets Host: {host}, as before" if host.port != mesh.TLS_PORT else ""),
    )
    if origination.short_name:
        yield from _short_name(host, survey, origination)


def _refuse_theirs(rule: Document | None, host: Host, origination: Origination) -> None:
    """EgressError where somebody else's rule would have to name files of a user's."""
    if rule and mesh.needs_files(origination) and not mesh.is_ours(rule.body):
        raise EgressError(
            f"--ca and --client-secret: DestinationRule {rule.ref.name} for {host} is somebody else's",
            "take port 80 out of its TLS settings, or delete it, and run this again",
        )


def bundle_change(host: Host, survey: Survey, text: str) -> MeshChange:
    """The ConfigMap with a host's CAs; its name says what it holds, so that one that is there is as it should be."""
    body = mesh.bundle(host, survey.namespace, text)
    ref = Ref("ConfigMap", survey.namespace, body["metadata"]["name"], "v1")
    there = next((one.body for one in survey.mesh_objects if one.ref == ref), None)
    return MeshChange(ref, there, there or body, f"the CAs by which the server of {host} is checked")


def _short_name(host: Host, survey: Survey, origination: Origination) -> Iterator[MeshChange]:
    """Service and route of a short name, in this order: without the route, its port has no server."""
    name, namespace = origination.short_name, survey.namespace
    wanted = (
        (mesh.short_service(name, namespace), f"http://{name} can be resolved, and leads nowhere without a sidecar"),
        (mesh.short_route(name, host, namespace, origination=origination), f"http://{name} goes to the rule's subset"),
    )
    for body, title in wanted:
        own = (
            one
            for one in survey.mesh_objects
            if (one.ref.kind, one.ref.name, one.ref.namespace) == (body["kind"], body["metadata"]["name"], namespace)
        )
        yield _change(next(own, None), body, title)


def tls_ports(host: Host, sites: Iterable[CallSite]) -> tuple[int, ...]:
    """The ports other than 443 at which the sites call the host over TLS: the alias would cut them off, the entry keeps them."""
    found = {site.host.port for site in sites if site.url.encrypted and site.host.name == host.name}
    return tuple(sorted(found - {mesh.TLS_PORT, mesh.CLEAR_PORT}))


def files_read(body: Body) -> set[str]:
    """What a rule of ours has the sidecars read from files."""
    policy = (body.get("spec") or {}).get("trafficPolicy") or {}
    settings = [one.get("tls") or {} for one in policy.get("portLevelSettings") or () if mesh.is_ours(body)]
    cas = {"CAs" for one in settings if one.get("caCertificates") != "system"}
    return cas | {"a client certificate" for one in settings if one.get("mode") == "MUTUAL"}


def _present(kind: str, host: Host, survey: Survey, fail_open: bool) -> Document | None:
    """The object of the namespace that names exactly this host: ours first, else the oldest that fits."""
    own = mesh.object_name(host)
    candidates = [
        document
        for document in survey.mesh_objects
        if document.ref.kind == kind and document.ref.namespace == survey.namespace
    ]
    for document in candidates:
        if document.ref.name == own and mesh.is_ours(document.body):
            return document
    if kind == "VirtualService":
        return None
    fitting = [
        document
        for document in candidates
        if _names(document.body, host) and not mesh.fits(document.body, host, fail_open=fail_open)
    ]
    return min(fitting, key=_age, default=None)


def _names(body: Body, host: Host) -> bool:
    spec = body.get("spec") or {}
    return spec.get("host") == host.name or host.name in (spec.get("hosts") or ())


def _age(document: Document) -> tuple[str, str]:
    return str(document.body["metadata"].get("creationTimestamp", "")), document.ref.name


def _change(present: Document | None, wanted: Body, title: str) -> MeshChange:
    if present is None:
        metadata = wanted["metadata"]
        ref = Ref(wanted["kind"], metadata["namespace"], metadata["name"], wanted["apiVersion"])
        return MeshChange(ref, None, wanted, title)
    return MeshChange(present.ref, present.body, mesh.adopt(mesh.settled(present.body), wanted), title)
