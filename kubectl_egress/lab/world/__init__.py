"""The outside world: an HTTPS server that counts what arrives in clear, and the DNS that leads to it."""

from __future__ import annotations
