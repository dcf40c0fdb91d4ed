"""Whether the calls of a workload go through a sidecar at all: injection, redirection, start order."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubectl_egress import kinds
from kubectl_egress.findings.scope import PROXY_CONTAINER, Caller, Found, Scope
from kubectl_egress.model import Body, Evidence, Ref, Severity

INJECT = "sidecar.istio.io/inject"
REVISION = "istio.io/rev"
_SHOWN = 3  # pods of which evidence is given
PROXY_USER = 1337  # Istio's redirect leaves out what this user and group send (pkg/constants)


# ---- no-sidecar -----------------------------------------------------------------------------------------------------


def no_sidecar(scope: Scope, caller: Caller) -> Iterator[Found]:
    """Pods without istio-proxy; without pods, what label, annotation and namespace say the injector would do."""
    restart = f"then kubectl rollout restart {caller.ref.kind.lower()}/{caller.ref.name} -n {caller.ref.namespace}"
    for field in ("labels", "annotations"):
        if str(caller.metadata(field).get(INJECT, "")).lower() in ("false", "no", "off", "n"):
            yield Found(
                f'its pod template has the {field.removesuffix("s")} {INJECT}: "false", so its pods get no sidecar',
                f"remove it from spec.template.metadata.{field}, {restart}",
                caller.ref,
                steps=caller.template_steps("metadata", field, INJECT),
            )
            return
    bare = [pod for pod in caller.pods if not has_sidecar(pod)]
    if bare:
        name = bare[0]["metadata"]["name"]
        which = f"pod {name} runs" if len(bare) == 1 else f"{len(bare)} of {len(caller.pods)} pods ({name}, …) run"
        yield Found(
            f"{which} without a sidecar (no container {PROXY_CONTAINER})",
            f"kubectl label namespace {caller.ref.namespace} istio-injection=enabled, {restart}",
            caller.ref,
            evidence=tuple(_containers(pod) for pod in bare[:_SHOWN]),
        )
    elif scope.survey.live and not caller.pods and not caller.pod_spec.get("hostNetwork"):
        yield from _would_not_be_injected(scope, caller)
    else:
        yield from _not_ready(caller)


def _not_ready(caller: Caller) -> Iterator[Found]:
    """Sidecars that run and are not ready: they have no configuration, or have lost it."""
    late = [pod for pod in caller.pods if _proxy_status(pod).get("ready") is False]
    waiting = [pod["metadata"]["name"] for pod in late]
    if waiting:
        which = f"pod {waiting[0]}" if len(waiting) == 1 else f"{len(waiting)} pods ({waiting[0]}, …)"
        yield Found(
            f"the sidecar of {which} is not ready",
            f"wait until it is; kubectl logs {waiting[0]} -c {PROXY_CONTAINER} -n {caller.ref.namespace} says why it is not",
            caller.ref,
            severity=Severity.BLOCK if len(waiting) == len(caller.pods) else Severity.WARN,
            evidence=tuple(
                Evidence(_ref(pod), ("status", "containerStatuses"), f"{PROXY_CONTAINER}: ready is false")
                for pod in late[:_SHOWN]
            ),
        )


def _containers(pod: Body) -> Evidence:
    """The pod with the names of its containers."""
    names = [str(one.get("name", "")) for one in (pod.get("spec") or {}).get("containers") or ()]
    return Evidence(_ref(pod), ("spec", "containers"), ", ".join(names))


def _ref(pod: Body) -> Ref:
    return Ref("Pod", pod["metadata"].get("namespace", ""), pod["metadata"]["name"], "v1")


def _proxy_status(pod: Body) -> Body:
    status = pod.get("status") or {}
    states = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return next((state for state in states if state.get("name") == PROXY_CONTAINER), {})


def has_sidecar(pod: Body) -> bool:
    """Whether a pod has istio-proxy, as a container or as an init container that stays (a native sidecar)."""
    return any(
        container.get("name") == PROXY_CONTAINER and role != "init"
        for _, container, role in kinds.containers({"spec": pod.get("spec") or {}})
    )


def _would_not_be_injected(scope: Scope, caller: Caller) -> Iterator[Found]:
    namespace = scope.survey.namespaces.get(caller.ref.namespace)
    if namespace is None:
        return
    space, pod = (namespace.get("metadata") or {}).get("labels") or {}, caller.metadata("labels")
    asked = str(pod.get(INJECT, "")).lower() == "true" or REVISION in pod
    disabled = space.get("istio-injection") == "disabled"
    settings = scope.survey.settings
    covered = space.get("istio-injection") == "enabled" or REVISION in space or settings.inject_everywhere
    if settings.injection_disabled and not disabled and covered and not asked:
        yield Found(
            "the injector's policy is disabled: a pod gets a sidecar only where its own template asks for one",
            f'add the label {INJECT}: "true" to spec.template.metadata.labels',
            caller.ref,
            steps=caller.template_steps("metadata", "labels"),
        )
        return
    if not disabled and (asked or covered):
        return
    yield Found(
        f"no pod of it runs, and neither its pod template nor the namespace {caller.ref.namespace} asks for a sidecar",
        f"kubectl label --overwrite namespace {caller.ref.namespace} istio-injection=enabled",
        caller.ref,
        evidence=(
            Evidence(
                Ref("Namespace", "", caller.ref.namespace, "v1"),
                ("metadata", "labels"),
                ", ".join(f"{key}={value}" for key, value in sorted(space.items())),
            ),
        ),
    )


# ---- not-intercepted ------------------------------------------------------------------------------------------------


def not_intercepted(scope: Scope, caller: Caller) -> Iterator[Found]:
    """Pods whose traffic passes the sidecar by: interception off, the host's network, or the proxy's own user."""
    annotations = caller.metadata("annotations")
    mode = str(annotations.get("sidecar.istio.io/interceptionMode", ""))
    config = str(annotations.get("proxy.istio.io/config", ""))
    if mode.upper() == "NONE" or re.search(r"""interceptionMode["']?\s*:\s*["']?NONE""", config, re.IGNORECASE):
        yield Found(
            "the interception mode of its pods is NONE: nothing is redirected to the sidecar",
            "set sidecar.istio.io/interceptionMode to REDIRECT in the pod template",
            caller.ref,
            steps=caller.template_steps("metadata", "annotations"),
        )
    elif not mode and scope.survey.settings.interception_mode == "NONE" and "interceptionMode" not in config:
        yield Found(
            "the mesh's default interception mode is NONE: nothing is redirected to the sidecar",
            "set sidecar.istio.io/interceptionMode to REDIRECT in the pod template's annotations",
            caller.ref,
        )
    if "traffic.sidecar.istio.io/excludeInterfaces" in annotations:
        interfaces = annotations["traffic.sidecar.istio.io/excludeInterfaces"]
        yield Found(
            f"what leaves its pods by the interface {interfaces} is not redirected to the sidecar",
            "remove the annotation traffic.sidecar.istio.io/excludeInterfaces from the pod template",
            caller.ref,
            steps=caller.template_steps("metadata", "annotations", "traffic.sidecar.istio.io/excludeInterfaces"),
        )
    if caller.pod_spec.get("hostNetwork"):
        yield Found(
            "its pods use the network of the node (hostNetwork), where no sidecar is",
            "remove hostNetwork from the pod template, or leave this workload on https with --workload",
            caller.ref,
            steps=caller.template_steps("spec", "hostNetwork"),
        )
    yield from _proxy_user(caller)


def _proxy_user(caller: Caller) -> Iterator[Found]:
    general = caller.pod_spec.get("securityContext") or {}
    for steps, container in caller.containers():
        context = {**general, **(container.get("securityContext") or {})}
        for field, word in (("runAsUser", "user"), ("runAsGroup", "group")):
            if context.get(field) == PROXY_USER:
                yield Found(
                    f"container {container.get('name')} runs as {word} {PROXY_USER}, whose traffic is never redirected",
                    f"give it another {field}; {PROXY_USER} is the sidecar's own",
                    caller.ref,
                    steps=(*steps, "securityContext", field),
                )


# ---- init-before-sidecar --------------------------------------------------------------------------------------------


def init_before_sidecar(scope: Scope, caller: Caller) -> Iterator[Found]:
    """An init container calls the host while no sidecar runs yet."""
    order = [str(one.get("name")) for one in caller.pod_spec.get("initContainers") or ()]
    early = _early(caller, order)
    called = {(site.container, host) for host in caller.hosts for site in caller.uses(host) if site.container in early}
    for name, host in sorted(called):
        yield Found(
            f"init container {name} calls it before the sidecar runs",
            'run the sidecar as a native one (Kubernetes 1.29, Istio 1.19: pod annotation sidecar.istio.io/nativeSidecar: "true"), '
            "or move the call into the container",
            caller.ref,
            host,
            steps=caller.template_steps("spec", "initContainers", order.index(name)),
        )


def _early(caller: Caller, order: list[str]) -> set[str]:
    """The init containers that run before the sidecar, in any pod, or as the pod template says where there is none."""
    if not caller.pods:
        native = str(caller.metadata("annotations").get("sidecar.istio.io/nativeSidecar", "")).lower() == "true"
        return set() if native else set(order)
    early: set[str] = set()
    for pod in caller.pods:
        names = [str(one.get("name")) for one in pod["spec"].get("initContainers") or ()]
        early.update(names[: names.index(PROXY_CONTAINER)] if PROXY_CONTAINER in names else names)
    return early & set(order)
