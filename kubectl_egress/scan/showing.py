"""How much of a call site's URL may be shown."""

from __future__ import annotations

import re

from kubectl_egress.model import CallSite, Url
from kubectl_egress.urls import shown

_USER_INFO = re.compile(r"[a-z]+\\?:\\?/\\?/[^/?#]*@", re.IGNORECASE)


def shown_site(site: CallSite) -> str:
    """The URL of a call site, masked; where a Secret has a part in it, scheme, host and port alone.

    User info, path and query of a URL that somebody has put into a Secret may be what is secret about it.
    """
    if not site.secret:
        return shown(site.url.text)
    port = "" if site.host.port == (443 if site.url.encrypted else 80) else f":{site.host.port}"
    return f"{site.url.scheme}://{site.host.name}{port}"


def has_user_info(url: Url) -> bool:
    """Whether a name, and perhaps a password, stands before the host."""
    return _USER_INFO.match(url.text) is not None
