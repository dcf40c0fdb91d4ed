"""Labels and annotations that the server refuses (apimachinery pkg/util/validation, pkg/apis/meta/v1/validation)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_egress.lab.api.status import Cause, invalid_value

Body = Mapping[str, Any]

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")

SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_KEY_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_PREFIX_RULE = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
_LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
LARGEST_ANNOTATIONS = 262144


def keyed(metadata: Body, path: str) -> Iterator[Cause]:
    """Labels and annotations (apimachinery pkg/util/validation, pkg/apis/meta/v1/validation and pkg/api/validation)."""
    for key, value in (metadata.get("labels") or {}).items():
        yield from _qualified_name(key, f"{path}.labels")
        if len(value) > 63:
            yield invalid_value(f"{path}.labels", value, "must be no more than 63 bytes")
        elif not _LABEL_VALUE.fullmatch(value):
            yield invalid_value(f"{path}.labels", value, _LABEL_VALUE_MESSAGE)
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        # Upper case is let through in an annotation's prefix.
        yield from _qualified_name(key, f"{path}.annotations", key.lower())
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > LARGEST_ANNOTATIONS:
        why = f"Too long: may not be more than {LARGEST_ANNOTATIONS} bytes"
        yield Cause(f"{path}.annotations", "FieldValueTooLong", why)


def _qualified_name(shown: str, field: str, key: str = "") -> Iterator[Cause]:
    """What is wrong with a key: `name`, or `prefix/name`."""
    prefix, slash, name = (key or shown).rpartition("/")
    if "/" in prefix:
        yield invalid_value(field, shown, f"a valid label key {_NAME_RULE} {_PREFIX_RULE}")
        return
    if slash and not prefix:
        yield invalid_value(field, shown, "prefix part must be non-empty")
    elif slash and len(prefix) > 253:
        yield invalid_value(field, shown, "prefix part must be no more than 253 bytes")
    elif slash and not SUBDOMAIN.fullmatch(prefix):
        yield invalid_value(field, shown, f"prefix part {SUBDOMAIN_MESSAGE}")
    if not name:
        yield invalid_value(field, shown, "name part must be non-empty")
    elif len(name) > 63:
        yield invalid_value(field, shown, "name part must be no more than 63 bytes")
    if not _KEY_NAME.fullmatch(name):
        yield invalid_value(field, shown, f"name part {_NAME_RULE}")
