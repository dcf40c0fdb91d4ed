"""Whether the host alias, which makes a migration fail closed, can be had, and what it would cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from kubectl_egress import kinds, mesh, paths
from kubectl_egress.findings.guarding import ENFORCED, useless
from kubectl_egress.findings.scope import Caller, Found, Scope
from kubectl_egress.findings.settings import command_lines, has_option
from kubectl_egress.model import Host, ProxySnapshot, Ref, Severity, Steps

KNATIVE = "serving.knative.dev/"
HOSTS_FILE = "/etc/hosts"
_RESOLVERS = ("--resolve", "--connect-to", "--doh-url", "--dns-servers")


# ---- other-port -----------------------------------------------------------------------------------------------------


def other_port(scope: Scope, caller: Caller) -> Iterator[Found]:
    """The workload uses the host on a port that the entry does not have: the alias would send that nowhere too."""
    if scope.fail_open:
        return
    for host in caller.hosts:
        seen: dict[int, tuple[Ref, Steps]] = {}
        for site in caller.sites:
            # Other ports over TLS go into the entry, and on by SNI; on port 80, the sidecar takes everything for HTTP.
            cut = site.url.encrypted == (site.host.port == mesh.CLEAR_PORT)
            if cut and mesh.covers(host.name, site.host.name):
                seen.setdefault(site.host.port, (site.object, site.steps))
        for port, steps in _other_protocols(caller, host):
            seen.setdefault(port, (caller.ref, steps))
        for port, (ref, steps) in sorted(seen.items()):
            yield Found(
                f"it also uses the host on port {port} ({paths.kubectl_path(steps)}), which the alias would cut off",
                "split that call off into another workload, or migrate with --fail-open, without the alias",
                caller.ref,
                host,
                ref,
                steps,
            )


def _other_protocols(caller: Caller, host: Host) -> Iterator[tuple[int, Steps]]:
    """Ports behind the host's name in any string of the containers: `httpbin.org:5432`, `amqps://httpbin.org:5671`."""
    named = re.compile(
        rf"(?<![\w.-])(?P<scheme>(?:https?|wss?)://(?:[^\s/@]*@)?)?{re.escape(host.name)}\.?:(?P<port>\d{{1,5}})\b",
        re.I,
    )
    for steps, container in caller.containers():
        strings = {field: container.get(field) for field in ("command", "args", "env")}
        for inner, text in paths.walk_strings(strings):
            for match in named.finditer(text):
                if not match["scheme"] and int(match["port"]) not in (mesh.TLS_PORT, host.port):
                    yield int(match["port"]), (*steps, *inner)


# ---- alias-refused ---------------------------------------------------------------------------------------------------


def alias_refused(scope: Scope, caller: Caller) -> Iterator[Found]:
    """A Knative Service, whose admission refuses hostAliases unless a feature flag allows them."""
    knative = caller.ref.kind == "Service" and str(caller.workload.document.body.get("apiVersion", "")).startswith(
        KNATIVE
    )
    if scope.fail_open or not knative or caller.pod_spec.get("hostAliases"):
        return
    yield Found(
        "Knative refuses hostAliases unless its feature flag for them is on",
        "kubectl get configmap config-features -n knative-serving -o yaml: kubernetes.podspec-hostaliases has to be enabled",
        caller.ref,
        steps=caller.template_steps("spec"),
    )


# ---- host-aliased ---------------------------------------------------------------------------------------------------


def host_aliased(scope: Scope, caller: Caller) -> Iterator[Found]:
    """The hosts file is not ours to write: the template aliases the host already, or a container mounts its own file."""
    if scope.fail_open:
        return
    for host in caller.hosts:
        for number, alias in enumerate(caller.pod_spec.get("hostAliases") or ()):
            named = [str(name).lower().rstrip(".") for name in alias.get("hostnames") or ()]
            if host.name in named and not _is_ours(scope, caller, host, str(alias.get("ip", ""))):
                yield Found(
                    f"its pod template aliases the host to {alias.get('ip')} already",
                    "remove that entry of hostAliases, or migrate with --fail-open, without the alias",
                    caller.ref,
                    host,
                    steps=caller.template_steps("spec", "hostAliases", number),
                )
    for steps, container in caller.containers():
        for number, mount in enumerate(container.get("volumeMounts") or ()):
            if _normal(mount) in (HOSTS_FILE, "/etc"):
                yield Found(
                    f"container {container.get('name')} mounts its own {HOSTS_FILE}, which hides the alias",
                    "remove that mount, or migrate with --fail-open, without the alias",
                    caller.ref,
                    steps=(*steps, "volumeMounts", number),
                )


def _is_ours(scope: Scope, caller: Caller, host: Host, address: str) -> bool:
    return mesh.is_alias_address(address) and address in scope.aliases(host, caller.ref.namespace)


def _normal(mount: Mapping[str, Any]) -> str:
    return "/" + re.sub(r"/+", "/", str(mount.get("mountPath", ""))).strip("/")


# ---- fails-open -----------------------------------------------------------------------------------------------------


def fails_open(scope: Scope) -> Iterator[Found]:
    """Failing closed cannot be had: a hosts file has no wildcards, or the mesh resolves unknown hosts by itself.

    Under a guard, that is only said.
    """
    for found in () if scope.fail_open else _past_the_alias(scope):
        yield (
            found
            if scope.guard is None
            else replace(found, remedy=f"{ENFORCED}: try it, as docs/guard.md says", severity=Severity.WARN)
        )
    yield from useless(scope)
    for caller in () if scope.fail_open or scope.survey.knative_aliases else scope.callers:
        if kinds.row_of(caller.workload.document.body) is kinds.KNATIVE:
            yield _knative(scope, caller)


def past_the_alias(scope: Scope) -> frozenset[tuple[Ref | None, Host]]:
    """The workloads (None: all) and hosts that an alias does not close, whatever else does."""
    return frozenset((one.workload, one.host) for one in _past_the_alias(scope) if one.host is not None)


def _past_the_alias(scope: Scope) -> Iterator[Found]:
    remedy = (
        "migrate with --fail-open if a request in clear is acceptable when the sidecar is gone, or leave it on https"
    )
    for _, host in scope.pairs:
        if host.wildcard:
            reason = "no alias can be made for a wildcard, so without its sidecar a pod would call it in clear"
            yield Found(reason, f"migrate the hosts one by one, by name; {remedy}", None, host)
        elif scope.survey.settings.outbound_mode == "ALLOW_ANY_DYNAMIC_DNS":
            reason = "the mesh resolves unknown hosts by itself (ALLOW_ANY_DYNAMIC_DNS), past the alias"
            yield Found(reason, remedy, None, host)
    for caller in scope.callers:
        for host in caller.hosts:
            yield from _own_resolver(scope, caller, host)


def _knative(scope: Scope, caller: Caller) -> Found:
    """Knative's webhook refuses hostAliases unless a feature flag is set (knative.dev/docs/serving/configuration/feature-flags)."""
    refused = scope.survey.knative_aliases is False
    allowed = (
        "kubectl patch configmap config-features -n knative-serving --type=merge "
        """-p '{"data":{"kubernetes.podspec-hostaliases":"enabled"}}' allows it; or migrate with --fail-open, without the alias"""
    )
    return Found(
        "Knative refuses host aliases, as it does unless kubernetes.podspec-hostaliases is enabled"
        if refused
        else "Knative refuses host aliases unless kubernetes.podspec-hostaliases is enabled, and whether it is was not read",
        allowed,
        caller.ref,
        steps=caller.template_steps("spec"),
        severity=None if refused else Severity.WARN,
    )


def _own_resolver(scope: Scope, caller: Caller, host: Host) -> Iterator[Found]:
    """A command that looks its addresses up by itself, past the hosts file (curl's man page)."""
    for line in command_lines(scope, caller, host):
        if has_option(line, "", *_RESOLVERS):
            yield Found(
                "a command finds the host's address by itself (--resolve, --connect-to, --doh-url, --dns-servers), past the alias",
                "take that option out of the command; or migrate with --fail-open if a request in clear is acceptable "
                "when the sidecar is gone",
                caller.ref,
                host,
                line.object,
                line.steps,
            )


# ---- proxy-needs-host -----------------------------------------------------------------------------------------------


def proxy_needs_host(scope: Scope, caller: Caller) -> Iterator[Found]:
    """Another cluster of the sidecar resolves the host: the pod's hosts file, alias included, is the sidecar's too."""
    if scope.fail_open:
        return
    pods = {(caller.ref.namespace, pod["metadata"]["name"]) for pod in caller.pods}
    proxies = [
        proxy
        for ref, proxy in scope.survey.proxies.items()
        if (ref.namespace, ref.name) in pods and isinstance(proxy, ProxySnapshot)
    ]
    for host in caller.hosts:
        users = sorted(
            {
                upstream.name
                for proxy in proxies
                for upstream in proxy.upstreams
                if upstream.host != host.name
                and any(address.rpartition(":")[0] == host.name for address in upstream.configured_addresses)
            }
        )
        if users:
            yield Found(
                f"the sidecar itself resolves the host, for its cluster {users[0]}: the alias would cut that off",
                "give that cluster the name with a final dot, or migrate with --fail-open, without the alias",
                caller.ref,
                host,
            )
