"""`python -m kubectl_egress`."""

from __future__ import annotations

from kubectl_egress.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
