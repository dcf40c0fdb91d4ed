"""The lab's table of Kubernetes' types is the client's own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kubernetes.client import models

from kubectl_egress.lab.api import types
from kubectl_egress.lab.api.resources import MESH_KINDS, RESOURCES

TABLE = Path(types.__file__).with_name("types.json")


def client_types() -> dict[str, dict[str, str]]:
    """The types of everything that the lab serves, and of all that is in them."""
    kinds = [resource.kind for resource in RESOURCES if resource.kind not in MESH_KINDS]
    todo = [types._NAMES.get(kind, f"V1{kind}") for kind in kinds]
    found: dict[str, dict[str, str]] = {}
    while todo:
        name = todo.pop()
        if name in found:
            continue
        model: Any = getattr(models, name)
        found[name] = {model.attribute_map[field]: kind for field, kind in model.openapi_types.items()}
        words = re.findall(r"\w+", " ".join(found[name].values()))
        todo += [word for word in words if "V1" in word and hasattr(models, word)]
    return dict(sorted(found.items()))


def text() -> str:
    """One line for each type."""
    rows = [f"{json.dumps(name)}: {json.dumps(fields, sort_keys=True)}" for name, fields in client_types().items()]
    return "{\n" + ",\n".join(rows) + "\n}\n"


def test_the_table_is_the_client_s() -> None:
    assert TABLE.read_text() == text(), "renew it: python -m tests.test_lab_api_types"


if __name__ == "__main__":
    TABLE.write_text(text())
