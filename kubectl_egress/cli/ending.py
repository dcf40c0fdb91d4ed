"""How a command ends: its own status, what the user can mend, an interruption, or a bug."""

from __future__ import annotations

import os
from collections.abc import Callable

from kubectl_egress.cli.interrupts import listening
from kubectl_egress.cli.output import say
from kubectl_egress.errors import EgressError

INTERRUPTED = 130
BUG = os.EX_SOFTWARE
REPORT = (
    "This is a bug in kubectl egress. Please report it to the project, with the lines above and the output of\n"
    "`kubectl egress version`; look through them for what should stay yours."
)


def ended(run: Callable[[], int]) -> int:
    """Run a command and give the exit status; every sentence about an error is said here, on stderr."""
    try:
        with listening():
            return run()
    except EgressError as error:
        say(error_text(error))
        return error.exit_status
    except KeyboardInterrupt as interruption:  # who raises it anew says what was done, and how to go on and back
        say(f"{_masked(str(interruption)) or 'Interrupted.'}\n")
        return INTERRUPTED
    except Exception:  # the outermost frame: whatever comes here is a bug, and says so
        import traceback

        say(f"{_masked(traceback.format_exc())}\n{REPORT}\n")
        return BUG


def error_text(error: EgressError) -> str:
    """`error: what`, and a line with the remedy where there is one."""
    remedy = f"  {error.remedy}\n" if error.remedy else ""
    return _masked(f"error: {error.message}\n{remedy}")


def _masked(text: str) -> str:
    """Without credentials; imported here, since its tables and the model cost 40 ms, and most runs end well."""
    from kubectl_egress.urls import shown

    return shown(text)
