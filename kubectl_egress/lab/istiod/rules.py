"""Which DestinationRule is in effect for a host, and what it says of one port: lookup and merging of Istio 1.31.

Source: istio/istio `pilot/pkg/model/{push_context,destination_rule,sidecar}.go`, and measurements on 1.31.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kubectl_egress.lab.istiod.objects import PRIVATE, PUBLIC, Rule
from kubectl_egress.lab.parts import Body

_FIELDS = ("tls", "loadBalancer", "connectionPool")


def matches(pattern: str, host: str) -> bool:
    """Whether a host or pattern (`*.org`, `*`) covers a host."""
    return pattern == host or (pattern.startswith("*") and host.endswith(pattern[1:]) and len(host) >= len(pattern))


def effective_rule(
    rules: Sequence[Rule], host: str, service_namespace: str, client_namespace: str, root: str
) -> Rule | None:
    """The rule that a proxy of `client_namespace` applies to a host of `service_namespace`.

    `rules`: all of them, oldest first. First the client's namespace, then the service's, then the root namespace.
    """
    if client_namespace != root:
        local = [rule for rule in rules if rule.origin.namespace == client_namespace and _local(rule)]
        if found := _most_specific(local, host):
            return found[-1]
    else:
        private = [rule for rule in rules if rule.origin.namespace == root and _private_only(rule)]
        if found := _most_specific(private, host):
            return found[-1]
    for namespace in (service_namespace, root):
        exported = [rule for rule in rules if rule.origin.namespace == namespace and not _private_only(rule)]
        visible = [rule for rule in _most_specific(exported, host) if _exported_to(rule, client_namespace)]
        if visible:
            # Rules with different exportTo stay apart, and the last without a workloadSelector is taken (sidecar.go).
            return visible[-1]
    return None


def _local(rule: Rule) -> bool:
    return not rule.export_to or bool(rule.export_to & {PUBLIC, PRIVATE, rule.origin.namespace})


def _private_only(rule: Rule) -> bool:
    return rule.export_to in ({PRIVATE}, {rule.origin.namespace})


def _exported_to(rule: Rule, namespace: str) -> bool:
    return not rule.export_to or PUBLIC in rule.export_to or namespace in rule.export_to


def _most_specific(rules: Iterable[Rule], host: str) -> tuple[Rule, ...]:
    by_host: dict[str, tuple[Rule, ...]] = {}
    for rule in rules:
        by_host[rule.host] = merged(by_host.get(rule.host, ()), rule)
    covering = [pattern for pattern in by_host if matches(pattern, host)]
    if not covering:
        return ()
    return by_host[host if host in by_host else max(covering, key=len)]


def merged(groups: tuple[Rule, ...], rule: Rule) -> tuple[Rule, ...]:
    """The rules of one host in one namespace after the next younger one has joined them.

    It joins those whose exportTo is the same (or, where that is not empty, a part of its own), else stands by itself.
    """
    result: list[Rule] = []
    apart = True
    for group in groups:
        same = rule.export_to == group.export_to or (bool(group.export_to) and rule.export_to >= group.export_to)
        result.append(_joined(group, rule) if same else group)
        apart = not same
    return (*result, rule) if apart else tuple(result)


def _joined(older: Rule, younger: Rule) -> Rule:
    """Subsets are put together, the first of a name wins; the older top-level policy stays, if there is one."""
    names = {subset["name"] for subset in older.subsets}
    added = tuple(subset for subset in younger.subsets if subset["name"] not in names)
    policy = older.policy if older.policy is not None else younger.policy
    return replace(older, subsets=older.subsets + added, policy=policy)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a rule says of the connections to one port."""

    tls: Mapping[str, Any] | None = None
    load_balancer: Mapping[str, Any] | None = None
    connection_pool: Mapping[str, Any] | None = None


def port_policy(rule: Rule | None, subset: Body | None, port: int) -> Policy:
    """The policy for a port of the host, or of a subset of it.

    A port's own settings replace those of its level as a whole; a subset's override field by field.
    """
    settings: dict[str, Any] = {}
    for policy in (rule.policy if rule else None, (subset or {}).get("trafficPolicy")):
        settings = _overridden(settings, policy or {}, port)
    return Policy(settings.get("tls"), settings.get("loadBalancer"), settings.get("connectionPool"))


def _overridden(settings: dict[str, Any], policy: Body, port: int) -> dict[str, Any]:
    for level in policy.get("portLevelSettings") or ():
        if (level.get("port") or {}).get("number") == port:
            return {name: level[name] for name in _FIELDS if level.get(name) is not None}
    return settings | {name: policy[name] for name in _FIELDS if policy.get(name) is not None}
