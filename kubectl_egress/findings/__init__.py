"""What stands in the way of a migration, or changes with it: checks over a survey, and a page on each."""

from __future__ import annotations

from kubectl_egress.findings.catalogue import check, codes, conflicts, explain, ignorable, unclosed

__all__ = ["check", "codes", "conflicts", "explain", "ignorable", "unclosed"]
