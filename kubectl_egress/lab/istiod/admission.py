"""Admission of mesh objects: what Istio's validating webhook refuses, and what the lab does not model.

Source of what is refused: istio/istio `pkg/config/validation/validation.go` and the CRDs' own rules, 1.31.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kubectl_egress.lab.istiod.entry_checks import service_entry
from kubectl_egress.lab.istiod.route_checks import sidecar, virtual_service
from kubectl_egress.lab.istiod.rule_checks import destination_rule
from kubectl_egress.lab.istiod.schema import causes
from kubectl_egress.lab.istiod.shapes import SHAPES, unmodelled
from kubectl_egress.lab.istiod.syntax import LABEL
from kubectl_egress.lab.parts import Body, LabRefusal, SchemaRefusal

_CHECKS: Mapping[str, Callable[[Body], Iterator[str]]] = {
    "ServiceEntry": service_entry,
    "DestinationRule": destination_rule,
    "VirtualService": virtual_service,
    "Sidecar": sidecar,
}


def check(body: Body) -> None:
    """Let a mesh object pass, and every object that is none.

    Raises SchemaRefusal for what the resource definitions refuse, else LabRefusal with all that is wrong: first what is
    not modelled, else what the webhook says.
    """
    if "istio.io/" not in body.get("apiVersion", ""):
        return
    kind = body.get("kind", "")
    if kind not in SHAPES:
        raise LabRefusal(f"the lab's istiod does not model {kind}")
    spec = body.get("spec", {})
    if refused := causes(body):
        raise SchemaRefusal(refused)
    if misfitting := list(unmodelled(spec, SHAPES[kind])):
        raise LabRefusal("; ".join(misfitting))
    namespace = body["metadata"].get("namespace", "")
    wrong = [*_CHECKS[kind](spec), *_export_to(spec.get("exportTo") or (), namespace)]
    if wrong:
        raise LabRefusal("; ".join(wrong))


def _export_to(values: Sequence[Any], namespace: str) -> Iterator[str]:
    if len(values) != len(set(values)):
        yield "duplicate entries in exportTo"
    if "*" in values and len(values) > 1:
        yield "exportTo: * cannot be used with other values"
    if "." in values and namespace in values:
        yield "exportTo: the object's own namespace twice, as . and by name"
    for value in values:
        if value == "~":
            yield "the lab's istiod does not model exportTo ~"
        elif value not in ("*", ".") and not LABEL.match(str(value)):
            yield f"exportTo: invalid namespace {value!r}"
