"""HTML pages out of templates: self-contained, and everything that is put in escaped."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any


def page(template: str, told: Mapping[str, Any]) -> str:
    """The template of this name with the values in it; a name that is missing is an error, not an empty string.

    Jinja escapes every value by itself, so that no template can forget to; templates have no `safe` filter.
    """
    import jinja2  # 50 ms, and only pages need it

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(told)


def _source(name: str) -> str:
    return resources.files("kubectl_egress.report").joinpath("templates", name).read_text()
