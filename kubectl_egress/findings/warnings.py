"""What changes for somebody, although nothing stands in the way."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubectl_egress import kinds, mesh, paths, urls
from kubectl_egress.findings.scope import Caller, Found, Scope
from kubectl_egress.model import Host, Ref

_USER_INFO = re.compile(r"//[^/@?#]*@")
_AMBIENT = "istio.io/dataplane-mode"


def plain_callers(scope: Scope) -> Iterator[Found]:
    """Workloads that call `http://HOST` today: once the entry is there, their calls go over TLS too."""
    namespaces = {namespace for namespace, _ in scope.pairs}
    for host in scope.hosts:
        seen: set[Ref] = set()
        for site in scope.sites:
            plain = (
                not site.url.encrypted and site.host.port == mesh.CLEAR_PORT and mesh.covers(host.name, site.host.name)
            )
            if not plain or site.workload in seen or site.workload.namespace not in namespaces:
                continue
            if scope.migrated(site.workload, host) or _aliased(scope, site.workload, host):
                continue
            seen.add(site.workload)
            yield Found(
                f"it calls the host in clear today ({paths.kubectl_path(site.steps)}), and will over TLS",
                "see that it expects what the server says over https, not a redirect to it; or leave it out with --workload",
                site.workload,
                host,
                site.object,
                site.steps,
            )


def _aliased(scope: Scope, workload: Ref, host: Host) -> bool:
    """Whether a workload has an alias of ours: what it calls in clear was migrated, and goes over TLS."""
    ours = scope.aliases(host, workload.namespace)
    for one in scope.survey.workloads:
        if one.ref == workload:
            spec = (kinds.pod_template(one.document.body) or {}).get("spec") or {}
            entries = spec.get("hostAliases") or ()
            return any(host.name in (e.get("hostnames") or ()) and e.get("ip") in ours for e in entries)
    return False


def secret_in_url(scope: Scope, caller: Caller) -> Iterator[Found]:
    """Credentials in the path or query of a URL: from now on the sidecar sees them, and its access log has them."""
    for host in caller.hosts:
        for site in caller.calls(host):
            text = _USER_INFO.sub("//", site.url.text)
            if site.rewritable and urls.shown(text) != text:
                yield Found(
                    f"the URL at {paths.kubectl_path(site.steps)} has what looks like a credential: access logs will show it",
                    "send it in a header, or leave path and query out of the access log's format",
                    caller.ref,
                    host,
                    site.object,
                    site.steps,
                )


def ambient(scope: Scope, caller: Caller) -> Iterator[Found]:
    """Pods of an ambient mesh have no sidecar that could originate TLS; a waypoint can, and is another job."""
    namespace = scope.survey.namespaces.get(caller.ref.namespace, {})
    space = (namespace.get("metadata") or {}).get("labels") or {}
    if caller.metadata("labels").get(_AMBIENT, space.get(_AMBIENT)) == "ambient":
        yield Found(
            "it is in the ambient mesh, whose ztunnel sees TCP alone and originates no TLS",
            "give it a sidecar, or originate TLS in a waypoint by hand",
            caller.ref,
        )
