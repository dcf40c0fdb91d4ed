"""Label and field selectors: text to a test on objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kubectl_egress.lab.api.resources import MESH_KINDS, Resource
from kubectl_egress.lab.api.status import StatusError, bad_request

Body = Mapping[str, Any]
Test = Callable[[Body], bool]

_KEY = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_EQUALITY = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")

_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": ("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "type",
        "source",
    ),
    "namespaces": ("status.phase",),
    "jobs": ("status.successful",),
    "secrets": ("type",),
    "nodes": ("spec.unschedulable",),
    "replicasets": ("status.replicas",),
}
"""What the real server accepts beside metadata.name and metadata.namespace, as far as the lab serves the resource."""


def label_test(text: str) -> Callable[[Mapping[str, str]], bool]:
    """A test on labels, from `app=web,tier in (a,b),!canary`.

    Raises StatusError (400) for text that is no selector.
    """
    tests = [_requirement(part.strip()) for part in _split(text)] if text.strip() else []
    return lambda labels: all(test(labels) for test in tests)


def _split(text: str) -> list[str]:
    return re.split(r",(?![^()]*\))", text)


def _requirement(text: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _EQUALITY.fullmatch(text):
        key, operator, value = match.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _SET.fullmatch(text):
        key, operator, inside = match.groups()
        values = {value.strip() for value in inside.split(",")}
        if operator == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: labels.get(key) not in values
    if match := _EXISTS.fullmatch(text):
        absent, key = match.groups()
        return lambda labels: (key in labels) is not bool(absent)
    raise bad_request(f"unable to parse requirement: {text!r} is not a label selector")


def selector_test(selector: Body) -> Callable[[Mapping[str, str]], bool]:
    """A test on labels, from a LabelSelector (matchLabels, matchExpressions) of an object."""
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    expressions: list[Body] = selector.get("matchExpressions") or []

    def matches(labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in wanted.items()) and all(
            _expression_holds(expression, labels) for expression in expressions
        )

    return matches


def _expression_holds(expression: Body, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    operator = expression["operator"]
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) is (operator == "Exists")


def field_test(resource: Resource, text: str) -> Test:
    """A test on objects, from `metadata.name=x,status.phase!=Running`.

    Raises StatusError (400) for a field that the real server does not select by.
    """
    known = ("metadata.name", "metadata.namespace", *_FIELDS.get(resource.plural, ()))
    tests: list[Test] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", part)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        field, operator, value = match.groups()
        if field not in known:
            raise _unknown_field(resource, field)
        tests.append(_field_requirement(field, value, operator == "!="))
    return lambda body: all(test(body) for test in tests)


def _unknown_field(resource: Resource, field: str) -> StatusError:
    # Which of the two depends on whether the type has selectable fields of its own.
    if resource.plural in _FIELDS or resource.kind in MESH_KINDS:
        return bad_request(f"field label not supported: {field}")
    return bad_request(f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"')


def _field_requirement(field: str, value: str, differs: bool) -> Test:
    steps = field.split(".")

    def holds(body: Body) -> bool:
        found: Any = body
        for step in steps:
            found = found.get(step) if isinstance(found, Mapping) else None
        text = "" if found is None else str(found).lower() if isinstance(found, bool) else str(found)
        return (text == value) is not differs

    return holds
