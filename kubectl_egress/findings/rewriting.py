"""Whether the URLs of a workload can be changed, and whether its pods would ever see the change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kubectl_egress import kinds, paths, urls
from kubectl_egress.findings.scope import Caller, Found, Scope, concerns, title
from kubectl_egress.kinds import Hold
from kubectl_egress.model import Ref, Severity
from kubectl_egress.scan import is_aside, is_identifier

# What makes and replaces these, and is migrated in their place.
_MAKERS = {"ReplicaSet": "Deployment", "Job": "CronJob"}


def not_rewritable(scope: Scope, caller: Caller) -> Iterator[Found]:
    """URLs that no plan touches. They stay on https, and work; so it blocks only where nothing else would change.

    Comments, and what the kubelet calls itself, are no calls of the pods: they are told, and change nothing.
    """
    for host in caller.hosts:
        movable = any(site.rewritable for site in caller.calls(host)) or scope.migrated(caller.ref, host)
        for site in caller.sites:
            if not site.url.encrypted or site.rewritable or not concerns(host, site) or is_identifier(site):
                continue
            aside = is_aside(site)
            severity = Severity.INFO if aside else Severity.WARN if movable else Severity.BLOCK
            where = paths.kubectl_path(site.steps)
            where = where if site.object == caller.ref else f"{where} of {title(site.object)}"
            yield Found(
                urls.shown(f"{where} stays as it is: {site.reason or site.url.reason}"),
                "nothing to do" if aside else f"change {where} by hand, or leave that call on https",
                caller.ref,
                host,
                site.object,
                site.steps,
                severity,
            )


def template_immutable(scope: Scope, caller: Caller) -> Iterator[Found]:
    """A Job's pod template cannot be changed; one that is done, or that a CronJob makes, need not be."""
    body = caller.workload.document.body
    done = any(
        condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True"
        for condition in (body.get("status") or {}).get("conditions") or ()
    )
    if scope.survey.live and kinds.hold(body) is Hold.IMMUTABLE and not done and not _made(caller):
        yield Found(
            f"the pod template of a {caller.ref.kind} cannot be changed",
            "change the manifest and create it again: kubectl egress migrate -f FILE --write, kubectl replace --force -f FILE",
            caller.ref,
            steps=kinds.template_steps(caller.ref.kind),
        )


def not_rolled(scope: Scope, caller: Caller) -> Iterator[Found]:
    """Pods keep the old template until somebody deletes them; the migration would wait in vain."""
    if not scope.survey.live or _made(caller):
        return
    target = f"{_type(caller.ref)}/{caller.ref.name} -n {caller.ref.namespace}"
    yield from _under_way(caller, target)
    hold = kinds.hold(caller.workload.document.body)
    if hold in _HOLDS:
        message, remedy, field = _HOLDS[hold]
        message, remedy = (text.format(kind=caller.ref.kind, target=target) for text in (message, remedy))
        yield Found(message, remedy, caller.ref, steps=("spec", field))
    maker = _maker_elsewhere(scope, caller)
    if maker is not None:
        yield Found(
            f"its template is that of {title(maker)} (workloadRef), which makes the pods",
            f"wait for kubectl argo rollouts status {maker.name} -n {maker.namespace} yourself, or give the Rollout the template",
            caller.ref,
            object=maker,
            steps=("spec", "workloadRef"),
        )


_HOLDS = {
    Hold.ON_DELETE: (
        "its update strategy is OnDelete: pods that run keep the old template",
        "set spec.updateStrategy to RollingUpdate without a partition: kubectl edit {target}",
        "updateStrategy",
    ),
    Hold.PARTITION: (
        "its update strategy has a partition: some pods keep the old template",
        "set spec.updateStrategy to RollingUpdate without a partition: kubectl edit {target}",
        "updateStrategy",
    ),
    Hold.NO_ROLLOUT: (
        "a {kind} does not replace its pods when the template changes",
        "put a Deployment in its place, or leave it on https",
        "template",
    ),
    Hold.PROMOTION: (
        "its rollout waits for somebody to promote it: until then, pods keep the old template",
        "give every pause of its steps a duration (blueGreen: autoPromotionEnabled), for as long as this takes: kubectl edit "
        "{target}",
        "strategy",
    ),
    Hold.IN_PLACE: (
        "its pods are only ever updated in place (InPlaceOnly), which changes nothing but images",
        "set it to InPlaceIfPossible or ReCreate: kubectl edit {target}",
        "updateStrategy",
    ),
    Hold.PINNED: (
        "its traffic, or the name of its next revision, is fixed: a new revision would not take over",
        "take revisionName out of spec.traffic, and the name out of the template's metadata: kubectl edit {target}",
        "traffic",
    ),
}


def _maker_elsewhere(scope: Scope, caller: Caller) -> Ref | None:
    """The Argo Rollout that has the workload's pod template in place of one of its own."""
    wanted = {"kind": caller.ref.kind, "name": caller.ref.name}
    for workload in scope.survey.workloads:
        reference = (workload.document.body.get("spec") or {}).get("workloadRef")
        named = {key: reference.get(key) for key in wanted} if isinstance(reference, Mapping) else {}
        if named == wanted and workload.ref.namespace == caller.ref.namespace:
            return workload.ref
    return None


def _under_way(caller: Caller, target: str) -> Iterator[Found]:
    """Pods of an older template still serve; or Jobs run that were made before."""
    body = caller.workload.document.body
    if kinds.hold(body) is Hold.NEXT_RUN and caller.pods:
        yield Found(
            f"{_counted(len(caller.pods), 'pod')} of its Jobs now: they keep the old template, on https, until they end",
            "nothing to do: the next Job has the new one",
            caller.ref,
            severity=Severity.INFO,
        )
    failed = kinds.rollout_failed(body)
    if failed:
        yield Found(
            f"its last rollout did not succeed: {failed}",
            f"mend or undo it: kubectl rollout status {target}",
            caller.ref,
        )
    elif kinds.rolls(caller.ref.kind) and (body.get("status") or {}).get("observedGeneration"):
        done, said = kinds.rollout_done(body)
        if not done:
            yield Found(
                f"its last rollout is not finished: {said}",
                f"wait for it: kubectl rollout status {target}",
                caller.ref,
                severity=Severity.WARN,
            )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun} runs" if count == 1 else f"{count} {noun}s run"


def rollout_paused(scope: Scope, caller: Caller) -> Iterator[Found]:
    """A paused Deployment makes no new pods."""
    if scope.survey.live and kinds.hold(caller.workload.document.body) is Hold.PAUSED:
        yield Found(
            "its rollout is paused: no pod would get the new URLs",
            f"kubectl rollout resume deployment/{caller.ref.name} -n {caller.ref.namespace}"
            if caller.ref.kind == "Deployment"
            else f"take paused out of its spec: kubectl edit {_type(caller.ref)}/{caller.ref.name} -n {caller.ref.namespace}",
            caller.ref,
            steps=("spec", "paused"),
        )


def _type(ref: Ref) -> str:
    """The type as kubectl takes it; with the group where another has the name."""
    row = kinds.row(ref.kind, ref.api_version)
    return f"{row.plural}.{row.group}" if row in kinds.CUSTOM_KINDS and row is not None else ref.kind.lower()


def owner(caller: Caller) -> Ref | None:
    """The object that controls the workload, by its owner references."""
    for reference in (caller.workload.document.body.get("metadata") or {}).get("ownerReferences") or ():
        if reference.get("controller"):
            return Ref(
                reference.get("kind", ""),
                caller.ref.namespace,
                reference.get("name", ""),
                reference.get("apiVersion", ""),
            )
    return None


def _made(caller: Caller) -> bool:
    """Whether another workload makes this one: a Deployment its ReplicaSets, a CronJob its Jobs."""
    maker = owner(caller)
    return maker is not None and _MAKERS.get(caller.ref.kind) == maker.kind
