"""What makes the mesh know a host by name alone: an entry, whose callers stay as they are."""

from __future__ import annotations

from kubectl_egress import mesh
from kubectl_egress.errors import EgressError
from kubectl_egress.model import Host, Ref, Survey
from kubectl_egress.plan.objects import MeshChange


def named_objects(host: Host, survey: Survey) -> tuple[MeshChange, ...]:
    """The entry to be made; nothing where the namespace knows the host's TLS port by name already.

    EgressError where an entry is there that stands for the host and lacks the port, or says something else of it.
    """
    found = mesh.entries_for(host.name, survey.mesh_objects, survey.namespace)
    exact = [one for one in found if host.name in ((one.body.get("spec") or {}).get("hosts") or ())]
    for entry in exact[:1]:
        ports = (entry.body.get("spec") or {}).get("ports") or ()
        protocols = {str(port.get("protocol", "")).upper() for port in ports if port.get("number") == host.port}
        if not protocols <= {"HTTPS", "TLS"} or not protocols:
            raise EgressError(
                f"ServiceEntry {entry.ref.namespace}/{entry.ref.name} stands for {host.name}, and its port {host.port} is "
                + (f"{', '.join(sorted(protocols))}, not HTTPS" if protocols else "missing"),
                f"add {{number: {host.port}, name: https, protocol: HTTPS}} to its ports: "
                f"kubectl edit serviceentry {entry.ref.name} -n {entry.ref.namespace}",
            )
        return ()
    body = mesh.named_entry(host, survey.namespace)
    ref = Ref("ServiceEntry", survey.namespace, mesh.object_name(host), body["apiVersion"])
    return (MeshChange(ref, None, body, "the mesh knows the host by name; its callers stay as they are"),)
