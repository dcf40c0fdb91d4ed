"""Credentials that do not last, and are got anew when they have ended."""

from __future__ import annotations

import threading
from collections.abc import Callable

from kubectl_egress.cluster.exec_plugins import Credential


class Renewal:
    """Keeps the credentials of a connection current; any thread may use it."""

    def __init__(self, source: Callable[[], Credential], apply: Callable[[Credential], None]) -> None:
        """Get the first from `source`, which is asked again for each later one; `apply` puts them into use.

        Every method raises what these two do.
        """
        self._source = source
        self._apply = apply
        self._lock = threading.Lock()
        self._get()

    @property
    def current(self) -> Credential:
        """Those in use."""
        return self._credential

    def authorization(self) -> str:
        """The Authorization header; new credentials where those in use say that they have ended."""
        with self._lock:
            if self._credential.expired:
                self._get()
            return f"Bearer {self._credential.token}" if self._credential.token else ""

    def instead_of(self, refused: Credential) -> bool:
        """Get new ones if those that the server has turned away are still in use.

        Whether others are in use now, so that the request may be sent again.
        """
        with self._lock:
            if self._credential is refused:
                self._get()
            return self._credential != refused

    def _get(self) -> None:
        self._credential = self._source()
        self._apply(self._credential)
