"""What a refusal shows of an object: names and addresses that cannot be secret, and no other value of any length."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_egress.cluster.redaction import redacted
from kubectl_egress.cluster.refusals import refusal

ALIAS = "spec.template.spec.hostAliases[0].ip"
ENTRY = "spec.template.spec.containers[0].env[1].value"
UNTOUCHED = [
    'ConfigMap "Upper" is invalid: metadata.name: Invalid value: "Upper": a lowercase RFC 1123 subdomain must consist of',
    f'Deployment.apps "d" is invalid: {ALIAS}: Invalid value: "nope": must be a valid IP address, (e.g. 10.9.8.7)',
    'ConfigMap "fixed" is invalid: data: Forbidden: field is immutable when `immutable` is set',
    'ServiceEntry.networking.istio.io "e" is invalid: spec.resolution: Unsupported value: "SOMEHOW": supported values: "DNS"',
    'configmaps "once" not found',
    "metadata.annotations: Too long: may not be more than 262144 bytes",
    "",
]
HIDDEN = [
    # of a patch whose result is no Deployment, the whole object
    ('"" is invalid: patch: Invalid value: "{\\"a\\":\\"k\\"}": json: cannot unmarshal', '"" is invalid: patch: Invalid value: …: json: cannot unmarshal'),
    (f'x: [{ENTRY}: Invalid value: "k": no, {ALIAS}: Invalid value: "nope": no]', f'x: [{ENTRY}: Invalid value: …: no, {ALIAS}: Invalid value: "nope": no]'),
    # of a Job's template, which nobody may change, the whole template
    ('spec.template: Invalid value: {"Env":[{"Value":"a}k"}]}: field is immutable', "spec.template: Invalid value: …: field is immutable"),
    ('spec.template: Invalid value: core.PodTemplateSpec{Args:[]string{"k", "l: m"}, P:(*int)(0xc0)}: field is immutable', "spec.template: Invalid value: …: field is immutable"),
    ('data: Invalid value: map[string]string{"a":"k"}: no', "data: Invalid value: …: no"),
    ("spec.pin: Invalid value: 4711: must be greater", "spec.pin: Invalid value: …: must be greater"),
    ("spec.pin: Invalid value: two words", "spec.pin: Invalid value: …"),
    ('spec.key: Duplicate value: "k"', "spec.key: Duplicate value: …"),
    ('spec.key: Not found: "k"', "spec.key: Not found: …"),
    ('spec.key: Too long: "k": may not be longer than 3', "spec.key: Too long: …: may not be longer than 3"),
    ('Invalid value: "never ends', "Invalid value: …"),
    ('spec.template: Invalid value: {"a": "never ends', "spec.template: Invalid value: …"),
    ('metadata.name: Invalid value: {"a": "k"}: no', "metadata.name: Invalid value: …: no"),
    # of a pod, whose containers stay as they are, what differs, and lines around it
    ('spec: Forbidden: pod updates may not change @@ -18,7 +18,14 @@ "Name": "KEY", - "Value": "k", + "Value": "l"', "spec: Forbidden: pod updates may not change …"),
]  # fmt: skip


@pytest.mark.parametrize("message", UNTOUCHED)
def test_what_cannot_be_secret_is_shown(message: str) -> None:
    assert redacted(message) == message


@pytest.mark.parametrize(("message", "wanted"), HIDDEN)
def test_what_may_be_secret_is_not(message: str, wanted: str) -> None:
    assert redacted(message) == wanted


SHAPES: list[Callable[[str], str]] = [
    json.dumps,
    lambda secret: json.dumps({"env": [{"name": "KEY", "value": secret}]}),
    lambda secret: json.dumps(json.dumps({"data": {"key": secret}})),
    lambda secret: f"core.EnvVar{{Name:{json.dumps('KEY')}, Value:{json.dumps(secret)}}}",
]


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1),
    st.sampled_from(SHAPES),
    st.sampled_from(["patch", ENTRY, "spec.template", "data[key]"]),
)
def test_no_secret_of_any_length_or_shape_gets_through(secret: str, shape: Callable[[str], str], field: str) -> None:
    message = f'Deployment.apps "d" is invalid: {field}: Invalid value: {shape(secret)}: 0'
    body = json.dumps({"kind": "Status", "message": message, "reason": "Invalid"}).encode()
    assert refusal(422, body).message == f'Deployment.apps "d" is invalid: {field}: Invalid value: …: 0'
