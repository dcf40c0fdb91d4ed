"""What an API server shows of the objects that it refuses, left out: it shows them with the secrets in them."""

from __future__ import annotations

import re

HIDDEN = "…"
# The kinds of field error that show a value (k8s.io/apimachinery/pkg/util/validation/field), after the field's path.
_SHOWS = re.compile(
    r"(?:(?P<field>[^\s:]+): )?(?:Invalid value|Duplicate value|Unsupported value|Not found|Too long): (?!may not be )"
)
# Where names and addresses stand, the tool's own among them, and nothing else can.
_HARMLESS = re.compile(
    r"metadata\.(?:name|namespace|labels|resourceVersion)\b"
    r"|(?:spec\.)*(?:template\.(?:spec\.)?)*hostAliases\b"
    r"|spec\.(?:hosts?|exportTo|resolution|location|ports|endpoints|subsets)\b"
)
# Of a pod, what differs (and some lines around it) of its whole spec, as a unified diff.
_DIFF = re.compile(r" ?@@ -\d+,\d+ \+\d+,\d+ @@.*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SCALAR = re.compile(r".*?(?=: |, |\]?$)")
_BRACKETS = {"{": "}", "[": "]", "(": ")"}
_LONGEST_NAME = 253


def redacted(message: str) -> str:
    """An API server's message without the values of fields that may hold secrets: `env[0]: Invalid value: …: why`."""
    message = _DIFF.sub(f" {HIDDEN}", message)
    parts, position = [], 0
    while found := _SHOWS.search(message, position):
        end = _end_of_value(message, found.end())
        value = message[found.end() : end]
        field = (found["field"] or "").lstrip("[")
        harmless = _HARMLESS.match(field) and _STRING.fullmatch(value) and len(value) <= _LONGEST_NAME + 2
        parts += [message[position : found.end()], value if harmless else HIDDEN]
        position = end
    return "".join([*parts, message[position:]])


def _end_of_value(text: str, start: int) -> int:
    """Where a value ends that was written as a JSON or Go literal; the end of the text where it does not end."""
    if text.startswith('"', start):
        string = _STRING.match(text, start)
        return string.end() if string else len(text)
    literal = re.compile(r"[\w.*&]*[{\[(]").match(text, start)
    if literal is None:
        scalar = _SCALAR.match(text, start)
        return scalar.end() if scalar else len(text)
    position = literal.end() - 1
    # Of `map[string]string{…}` each bracket is one.
    while text[position : position + 1] in _BRACKETS:
        position = _end_of_brackets(text, position)
        word = re.compile(r"[\w.*]*(?=[{\[(])").match(text, position)
        position = word.end() if word else position
    return position


def _end_of_brackets(text: str, start: int) -> int:
    open_: list[str] = []
    position = start
    while position < len(text):
        character = text[position]
        if character == '"':
            position = _end_of_value(text, position)
            continue
        if character in _BRACKETS:
            open_.append(_BRACKETS[character])
        elif open_ and character == open_[-1]:
            open_.pop()
        position += 1
        if not open_:
            return position
    return len(text)
