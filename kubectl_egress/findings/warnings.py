"""What changes for somebody, although nothing stands in the way."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubectl_egress import kinds, mesh, paths, scan, urls
from kubectl_egress.findings.scope import Caller, Found, Scope, title
from kubectl_egress.model import Host, Ref, Severity
from kubectl_egress.scan import is_aside

_USER_INFO = re.compile(r"//[^/@?#]*@")
_SHOWN = 3
_AMBIENT = "istio.io/dataplane-mode"


def plain_callers(scope: Scope) -> Iterator[Found]:
    """Workloads that call `http://HOST` today: once the entry is there, their calls go over TLS too."""
    seen: set[tuple[Ref, Host]] = set()
    for site in scope.sites:
        for host in scope.called(site) if not site.url.encrypted and not is_aside(site) else ():
            # `http://HOST:443` is no call of the TLS port: that is another finding.
            known = (site.workload, host) in seen or site.host.port != mesh.CLEAR_PORT
            if known or (site.workload.namespace, host) not in scope.pairs or _ours(scope, site.workload, host):
                continue
            seen.add((site.workload, host))
            yield Found(
                f"it calls the host in clear today ({paths.kubectl_path(site.steps)}), and will over TLS{_port(host)}",
                "see that it expects what the server says over https, not a redirect to it; or leave it out with --workload",
                site.workload,
                host,
                site.object,
                site.steps,
            )


def _port(host: Host) -> str:
    return "" if host.port == mesh.TLS_PORT else f", at port {host.port}"


def _ours(scope: Scope, workload: Ref, host: Host) -> bool:
    """Whether a run has migrated the workload, as its journal or an alias of ours says: its calls go over TLS."""
    if scope.migrated(workload, host):
        return True
    template = kinds.pod_template(scope.bodies.get(workload, {})) or {}
    named = [
        one
        for one in (template.get("spec") or {}).get("hostAliases") or ()
        if host.name in (one.get("hostnames") or ())
    ]
    return bool(named) and any(one.get("ip") in scope.aliases(host, workload.namespace) for one in named)


def shared_source(scope: Scope) -> Iterator[Found]:
    """Secrets and ConfigMaps with a URL of the host that workloads read which are not among the callers.

    Both are copied, so that those go on as they are; of a Secret, whoever renews it does not know of the copy.
    """
    told: set[tuple[Ref, Ref]] = set()
    callers = {caller.ref for caller in scope.callers}
    readers = scope.survey.readers if scope.survey.live else _readers_of_secrets(scope)
    for caller in scope.callers:
        for site in caller.sites:
            hosts = scope.called(site) if site.rewritable and site.url.encrypted else ()
            others = [ref for ref in readers.get(site.object, ()) if ref not in callers]
            if not (hosts and others) or (caller.ref, site.object) in told:
                continue
            told.add((caller.ref, site.object))
            shown = ", ".join(f"{ref.kind.lower()}/{ref.name}" for ref in others[:_SHOWN])
            shown += f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
            secret = site.object.kind == "Secret"
            yield Found(
                f"{title(site.object)} is read by {shown} too",
                "migrate both together, or give each of them a Secret of its own: whoever renews it does not renew the copy"
                if secret
                else "nothing to do: a migration reads a copy of it, and those go on with the original, on https",
                caller.ref,
                hosts[0],
                site.object,
                site.steps,
                Severity.WARN if secret else Severity.INFO,
            )


def _readers_of_secrets(scope: Scope) -> dict[Ref, tuple[Ref, ...]]:
    """By Secret, the workloads among the files that read it: a ConfigMap is edited there for all of them."""
    found: dict[Ref, dict[Ref, None]] = {}
    for one in scope.survey.workloads:
        for _, kind, name in scan.source_references(kinds.pod_template(one.document.body) or {}):
            if kind == "Secret":
                found.setdefault(Ref(kind, one.ref.namespace, name), {})[one.ref] = None
    return {secret: tuple(sorted(readers)) for secret, readers in found.items()}


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
