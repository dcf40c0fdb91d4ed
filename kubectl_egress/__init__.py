"""kubectl egress: give every external HTTPS call of an Istio mesh a name, and prove it."""

from __future__ import annotations

__version__ = "0.1.0"
