"""What stands in the sources and is no call, or may be one that cannot be seen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from kubectl_egress import kinds, paths, urls
from kubectl_egress.findings import rewriting
from kubectl_egress.findings.scope import Found, Scope, by_caller, title
from kubectl_egress.model import Body, Ref, Severity, Steps, Workload
from kubectl_egress.places import matches
from kubectl_egress.scan import is_identifier
from kubectl_egress.scan.call_sites import CALLS_ANNOTATION
from kubectl_egress.scan.naming import Name

# A name in words that says that the value is, or leads to, a URL.
_LEADS = re.compile(r" (?:ur[li]|endpoint|host|hostname|server|address|addr|webhook|dsn|base) ")


def not_rewritable(scope: Scope) -> Iterator[Found]:
    """URLs that no plan touches, and settings that may hold some and are not read."""
    yield from by_caller(rewriting.not_rewritable)(scope)
    yield from secret_sources(scope)


def secret_sources(scope: Scope) -> Iterator[Found]:
    """Settings named like a URL whose value is in a Secret that was not read: what they call is unknown."""
    remedy = _LOOK if scope.survey.with_secrets else _ASK
    for workload in scope.survey.workloads if scope.everything else ():
        template = kinds.pod_template(workload.document.body) or {}
        prefix = kinds.template_steps(workload.ref.kind) if template else ()
        for steps, container, _ in kinds.containers(template):
            yield from _secret_environments(scope, workload, (*prefix, *steps), container, remedy)
            for inner, source in matches(container, ("env", "*", "valueFrom", "secretKeyRef")):
                name = str(container["env"][inner[1]].get("name", ""))
                if not isinstance(source, Mapping) or _is_read(scope, workload, source):
                    continue
                if _LEADS.search(Name(name).words):
                    yield Found(
                        f"{name} of container {container.get('name')} stands in Secret {source.get('name')} (key "
                        f"{source.get('key')}), which is not read: what it calls is unknown",
                        remedy,
                        workload.ref,
                        steps=(*prefix, *steps, *inner),
                        severity=Severity.INFO,
                    )


_ASK = "look at it; a URL in it stays as it is, unless --include-secrets is given"
_LOOK = "see that it is there, may be read, and is of type Opaque; a URL in it stays as it is"


def _is_read(scope: Scope, workload: Workload, source: Body) -> bool:
    return Ref("Secret", workload.ref.namespace, str(source.get("name", ""))) in scope.survey.secrets


def _secret_environments(
    scope: Scope, workload: Workload, steps: Steps, container: Body, remedy: str
) -> Iterator[Found]:
    """Secrets whose every key is a variable."""
    for inner, source in matches(container, ("envFrom", "*", "secretRef")):
        if isinstance(source, Mapping) and not _is_read(scope, workload, source):
            yield Found(
                f"all variables that container {container.get('name')} has from Secret {source.get('name')} (envFrom) are not read: "
                "whether one is a URL is unknown",
                remedy,
                workload.ref,
                steps=(*steps, *inner),
                severity=Severity.INFO,
            )


def looks_like_identifier(scope: Scope) -> Iterator[Found]:
    """URLs of the hosts that only look like calls; of all hosts, also of those that nothing calls, if none was asked for."""
    for site in scope.sites:
        wanted = (site.server,) if scope.everything else scope.called(site)
        for host in wanted if site.url.encrypted and is_identifier(site) else ():
            where = paths.kubectl_path(site.steps)
            place = where if site.object == site.workload else f"{where} of {title(site.object)}"
            yield Found(
                urls.shown(f"{place} stays as it is: it looks like {site.reason}"),
                f"if the pod does call it: --force '{site.host.name}={where}', or annotate the workload with "
                f"{CALLS_ANNOTATION}: {site.host.name}",
                site.workload,
                host,
                site.object,
                site.steps,
            )
