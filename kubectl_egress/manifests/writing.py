"""New objects to text."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from kubectl_egress.manifests.scalars import needs_quotes
from kubectl_egress.model import Body


def dump(bodies: Iterable[Body | list[Any]], list_offset: int = 0) -> str:
    """New objects as YAML: block style, keys in their order, documents parted by `---`; `parse` gives them back.

    `list_offset`: how far a list is indented under its key.
    """
    yaml = YAML(typ="rt", pure=True)
    yaml.indent(mapping=2, sequence=2 + list_offset, offset=list_offset)
    yaml.width = 1 << 16  # a line is never folded
    yaml.representer.ignore_aliases = lambda *_: True
    yaml.representer.sort_base_mapping_type_on_output = False
    stream = io.StringIO()
    yaml.dump_all([_styled(body) for body in bodies], stream)
    return stream.getvalue()


def _styled(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_styled(key): _styled(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_styled(inner) for inner in value]
    return _styled_text(value) if isinstance(value, str) else value


def _styled_text(text: str) -> str:
    printable = all(line.isprintable() for line in text.split("\n"))
    if printable and "\n" in text and not text[0].isspace():
        literal: str = LiteralScalarString(text)
        return literal
    quoted: str = DoubleQuotedScalarString(text)
    return text if printable and not needs_quotes(text) and "\n" not in text else quoted
