"""What may not be read, or not be written: a migration decides nothing on what it has not seen, and stops half-way nowhere."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_egress.findings.scope import PROXY_CONTAINER, Found, Scope
from kubectl_egress.findings.wire import proxies_of
from kubectl_egress.model import Denied, Evidence, ProxySnapshot, ProxyUnread, Ref, Severity

_SHOWN = 3  # pods of which evidence is given

_WRITES = ("create", "patch", "delete")

# Without these of its own namespace, no plan is safe; what is missing elsewhere may only hide a conflict.
_NEEDED = ("pods", "replicasets", "configmaps", "serviceentries", "destinationrules", "virtualservices")


def no_permission(scope: Scope) -> Iterator[Found]:
    """Reads that were refused, those of one namespace in one finding; and resources that the cluster does not have."""
    groups: dict[tuple[bool, str, str], list[Denied]] = {}
    for denied in scope.survey.denied:
        if denied.absent:
            yield Found(denied.message, _CHOOSE, severity=Severity.BLOCK, evidence=(_refusal(denied),))
        else:
            groups.setdefault((_needed(scope, denied), denied.verb, denied.namespace), []).append(denied)
    for (needed, verb, namespace), refused in groups.items():
        where = f"in namespace {namespace}" if namespace else "in all namespaces"
        flag = f"-n {namespace}" if namespace else "-A"
        yield Found(
            f"may not {verb} {', '.join(sorted({one.resource for one in refused}))} {where}{_said(refused)}",
            f"ask for the permission; kubectl auth can-i {verb} {refused[0].resource} {flag} checks it",
            severity=Severity.BLOCK if needed else Severity.WARN,
            evidence=tuple(map(_refusal, refused)),
        )
    yield from _proxies(scope)
    if scope.survey.live and scope.callers and not scope.survey.settings.known and not groups:
        yield Found(
            "the mesh-wide settings of Istio were not found (ConfigMaps istio and istio-sidecar-injector): its defaults are assumed",
            "see that nothing mesh-wide leaves ports 80 and 443 out of the redirect, if somebody else runs istiod",
            severity=Severity.WARN,
            evidence=tuple(Evidence(one, (), "not found") for one in _SETTINGS),
        )


_SETTINGS = tuple(Ref("ConfigMap", "istio-system", name, "v1") for name in ("istio", "istio-sidecar-injector"))
_CHOOSE = "install Istio, or choose a cluster that has it: kubectl config get-contexts"


def _refusal(denied: Denied) -> Evidence:
    """The type of objects that was asked for, as the API calls such types, and what the API server said."""
    return Evidence(Ref("APIResource", denied.namespace, denied.resource, "v1"), (), denied.message)


def _said(refused: list[Denied]) -> str:
    """The API server's own words, where there are some and they are about one thing."""
    return f": {refused[0].message}" if len(refused) == 1 and refused[0].message else ""


def _needed(scope: Scope, denied: Denied) -> bool:
    """Whether a plan cannot do without it, in a namespace of its own; what may not be listed everywhere was read close by."""
    if denied.verb in _WRITES:
        return True
    callers = {caller.ref.namespace for caller in scope.callers}
    if denied.resource == "secrets" and not scope.survey.with_secrets:
        # those of other hosts' migrations, which stay as they are
        return any(journal.secrets for journal in scope.journals if journal.host in scope.hosts)
    # To get single objects is asked for what is going to be written; a namespace, by the survey.
    needed = denied.resource.partition(".")[0] in _NEEDED or (denied.verb == "get" and denied.resource != "namespaces")
    return needed and denied.namespace in {*callers, scope.survey.namespace}


def _proxies(scope: Scope) -> Iterator[Found]:
    """Sidecars that may not be asked: whether they originate TLS could be neither awaited nor proven."""
    refused: dict[str, list[ProxyUnread]] = {}
    for said in scope.survey.proxies.values():
        if isinstance(said, ProxyUnread) and said.forbidden:
            refused.setdefault(said.pod.namespace, []).append(said)
    for namespace, unread in refused.items():
        yield Found(
            f"may not read the sidecars in namespace {namespace}: {unread[0].reason}",
            f"ask for get and create on pods/portforward or pods/exec in namespace {namespace}",
            evidence=tuple(Evidence(one.pod, (), one.reason) for one in unread[:_SHOWN]),
        )
    silent: dict[str, list[Ref]] = {}
    for said in scope.survey.proxies.values():
        if isinstance(said, ProxySnapshot) and said.log_forbidden:
            silent.setdefault(said.pod.namespace, []).append(said.pod)
    for namespace, pods in sorted(silent.items()):
        yield Found(
            f"may not read the sidecars' logs in namespace {namespace}: which hosts nameless connections go to may stay unknown",
            f"kubectl auth can-i get pods --subresource=log -n {namespace} checks it",
            severity=Severity.INFO,
            evidence=tuple(Evidence(pod, (), "its log may not be read") for pod in pods[:_SHOWN]),
        )


def sidecar_unread(scope: Scope) -> Iterator[Found]:
    """Sidecars that do not answer, though they may be asked; of a migration, those that it has to wait for."""
    concerned = scope.survey.workloads if scope.everything else tuple(caller.workload for caller in scope.callers)
    for workload in concerned:
        proxies = proxies_of(workload, scope.survey)
        unread = [one for one in proxies if isinstance(one, ProxyUnread) and not one.forbidden]
        if not unread:
            continue
        first = unread[0].pod.name
        which = (
            f"the sidecar of pod {first}"
            if len(unread) == 1
            else f"{len(unread)} of {len(proxies)} sidecars ({first}, …)"
        )
        yield Found(
            f"{which} could not be read: {unread[0].reason}",
            f"kubectl logs {first} -c {PROXY_CONTAINER} -n {workload.ref.namespace} says what the sidecar does",
            workload.ref,
            evidence=tuple(Evidence(one.pod, (), one.reason) for one in unread[:_SHOWN]),
        )
