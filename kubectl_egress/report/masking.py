"""Credentials that stand beside a URL, on a line that a diff has to show: headers, curl's users, settings."""

from __future__ import annotations

import re

from kubectl_egress.urls import shown

HIDDEN = "***"
_NAME = r"[\w.-]*(?:passw(?:or)?d|pwd|secret|token|credentials?|authorization|cookie|api[-_]?key|access[-_]?key)"
# In a string of JSON or YAML, a quote may stand behind a backslash.
_QUOTE = r"""\\?["']"""
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # 'Authorization: Bearer …', to the end of the string
        rf"(?P<before>(?P<open>{_QUOTE}){_NAME}\s*:\s*)(?P<value>(?:(?!(?P=open)).)+)",
        # PASSWORD=…, --token=…, "apiKey": "…"
        rf"(?P<before>(?<![\w?&;#%./]){_NAME}(?:{_QUOTE})?\s*[:=](?:\\?\s)*(?P<open>{_QUOTE})?)"
        r"(?P<value>(?(open)(?:(?!(?P=open)).)+|(?:(?:basic|bearer|digest|token)\\?\s+)?[^\s\"'\\,;}\]]+))",
        # --token …, "--token", "…"
        rf"(?P<before>(?<![\w-])--?{_NAME}(?:{_QUOTE}\s*,\s*{_QUOTE}|\s+(?:{_QUOTE})?))(?P<value>[^\s\"'\\]+)",
        # -u name:…
        rf"(?P<before>(?<![\w-])(?:-u|--user|-U|--proxy-user)(?:{_QUOTE}\s*,\s*{_QUOTE}|[\s=]*(?:{_QUOTE})?))"
        r"(?P<value>[^\s\"'\\:]+:[^\s\"'\\]+)",
    )
)
# What a variable holds is not there to be seen; of URLs, the credentials are masked already.
_NOTHING = re.compile(r"(?:\w+\\?\s+)?\$[\w{(]|\*{3}|(?:https?|wss?):|[{\[|>]", re.IGNORECASE)


def line_shown(text: str) -> str:
    """A line of a diff without credentials, in URLs or beside them."""
    found = shown(text)
    for pattern in _PATTERNS:
        found = pattern.sub(_masked, found)
    return found


def _masked(match: re.Match[str]) -> str:
    return match[0] if _NOTHING.match(match["value"]) else f"{match['before']}{HIDDEN}"
