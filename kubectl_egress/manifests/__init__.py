"""Manifests: text to Documents, edits spliced into the text, new objects to text; the only importer of `ruamel`.

Nothing is loaded and dumped again: what is rewritten is rewritten by offset, and what results is read again and
compared before anybody gets it.
"""

from __future__ import annotations

from kubectl_egress.manifests.adding import add
from kubectl_egress.manifests.hiding import secret_values_in, secrets_hidden
from kubectl_egress.manifests.host_aliases import insert_host_alias
from kubectl_egress.manifests.kustomize import FILE_NAMES, WHOLE_FILE, Kustomization, add_resource, read_kustomization
from kubectl_egress.manifests.provenance import generated_by
from kubectl_egress.manifests.reading import lines, lines_at, parse, value
from kubectl_egress.manifests.splicing import splice
from kubectl_egress.manifests.writing import dump

__all__ = [
    "FILE_NAMES",
    "WHOLE_FILE",
    "Kustomization",
    "add",
    "add_resource",
    "dump",
    "generated_by",
    "insert_host_alias",
    "lines",
    "lines_at",
    "parse",
    "read_kustomization",
    "secret_values_in",
    "secrets_hidden",
    "splice",
    "value",
]
