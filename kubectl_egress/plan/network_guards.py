"""The NetworkPolicies of a host: one for each workload that calls it, unless its pods cannot reach port 80 outside as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from kubectl_egress import kinds, mesh, policies
from kubectl_egress.errors import EgressError
from kubectl_egress.model import Body, CallSite, Document, Guard, Host, Ref, Survey, Workload
from kubectl_egress.plan.objects import MeshChange
from kubectl_egress.scan import is_aside


def guards(host: Host, survey: Survey, callers: Collection[Ref], guard: Guard) -> Iterator[MeshChange]:
    """The policies as they are to be, those that fit as they are too.

    Policies only add up: to pods that others of them hold already, one more would only open what is closed, so these
    get none (a policy that lets port 80 out is a finding). EgressError for pods that no selector tells from others'.
    """
    for workload in _once(survey, callers):
        name = mesh.guard_name(host, workload.ref)
        present = _present(name, survey)
        if not present and others(workload, survey):
            continue
        selector = _selector(workload, survey, callers)
        wanted = policies.guard_policy(name, survey.namespace, selector, guard.networks)
        ref = Ref("NetworkPolicy", survey.namespace, name, policies.API_VERSION)
        after = {**present.body, "spec": wanted["spec"]} if present else wanted
        title = f"no pod of {workload.ref.name} reaches port 80 outside the cluster, if its network enforces policies"
        yield MeshChange(present.ref if present else ref, present.body if present else None, after, title)


def callers_by(sites: Iterable[CallSite]) -> frozenset[Ref]:
    """The workloads that call by these sites once what can be rewritten is."""
    return frozenset(site.workload for site in sites if (site.rewritable if site.url.encrypted else not is_aside(site)))


def kept(host: Host, survey: Survey) -> Iterator[MeshChange]:
    """The host's guards that are there, as they are: what an earlier run was asked for and this one was not."""
    for one in survey.policies:
        # `egress-example.com.au.deployment.shop` begins like one of example.com, and is none.
        kind = one.ref.name.removeprefix(f"{mesh.object_name(host)}.").partition(".")[0]
        if mesh.is_ours(one.body) and kind in _KINDS:
            yield MeshChange(one.ref, one.body, one.body, "")


_KINDS = frozenset(row.kind.lower() for row in (*kinds.KINDS, *kinds.CUSTOM_KINDS))


def _once(survey: Survey, callers: Collection[Ref]) -> Iterator[Workload]:
    """Each caller; of a base and the patches that an overlay has for it, the one that says what selects its pods."""
    found: dict[Ref, Workload] = {}
    for workload in survey.workloads:
        known = found.get(workload.ref)
        if workload.ref in callers and (known is None or not kinds.selector(known.document.body)):
            found[workload.ref] = workload
    yield from found.values()


def others(workload: Workload, survey: Survey) -> tuple[Document, ...]:
    """The policies of others that already restrict what the workload's pods reach."""
    labels = _labels(workload.document.body)
    held = policies.restricting(survey.policies, workload.ref.namespace, labels)
    return tuple(one for one in held if not mesh.is_ours(one.body))


def _present(name: str, survey: Survey) -> Document | None:
    found = next((one for one in survey.policies if one.ref.name == name), None)
    if found and not mesh.is_ours(found.body):
        raise EgressError(
            f"--guard: NetworkPolicy {name} is there already, and somebody else's", "rename it, or leave --guard out"
        )
    return found


def _selector(workload: Workload, survey: Survey, callers: Collection[Ref]) -> Body:
    """What selects the workload's pods, and nobody else's but those of other callers."""
    labels = _labels(workload.document.body)
    own = kinds.selector(workload.document.body)
    selector = own or ({"matchLabels": labels} if labels else None)
    kind = workload.ref.kind.lower()
    if not selector:
        raise EgressError(
            f"--guard: nothing selects the pods of {kind}/{workload.ref.name} alone: its pod template has no labels",
            "give the pod template a label of its own, or leave --guard out",
        )
    for other in survey.workloads:
        if other.ref not in callers and policies.matches(selector, _labels(other.document.body)):
            raise EgressError(
                f"--guard: what selects the pods of {kind}/{workload.ref.name} also selects those of "
                f"{other.ref.kind.lower()}/{other.ref.name}, which does not call the host",
                "give the pod templates labels that tell them apart, or leave --guard out",
            )
    return selector


def _labels(body: Body) -> Body:
    return ((kinds.pod_template(body) or {}).get("metadata") or {}).get("labels") or {}
