"""What a user can mend, each with one line of what and one line of remedy; anything else is a bug.

EgressError            exit 1
├── UsageError         exit 2   the command line is wrong
├── RefusedError       exit 3   the answer is no
├── ManifestError      exit 1   a file that cannot be read or rewritten
├── UnreachableError   exit 1   the API or a proxy does not answer
└── ApiError           exit 1   the API answered no
    ├── NotFoundError       404
    ├── ConflictError       409, and a failed precondition
    ├── ForbiddenError      401, 403
    └── InvalidError        422, and a failed `test` of a JSON patch
"""

from __future__ import annotations


class EgressError(Exception):
    """Printed as `error: message` and, where there is one, a line with the remedy."""

    exit_status = 1
    passing = False
    """Whether the same request may well succeed a little later; of a write, that it may have been done."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(EgressError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_status = 2


class RefusedError(EgressError):
    """The answer is no: not verified, blocked by a finding, or changes are pending."""

    exit_status = 3


class ManifestError(EgressError):
    """A manifest that cannot be read, or not be rewritten without touching more than its URLs."""


class UnreachableError(EgressError):
    """Nobody answers: an API server, an istiod or a proxy."""

    passing = True


class ApiError(EgressError):
    """The API answered with a Status; `status` is its HTTP code, `reason` its own word."""

    def __init__(self, message: str, remedy: str = "", *, status: int = 0, reason: str = "") -> None:
        super().__init__(message, remedy)
        self.status = status
        self.reason = reason
        self.passing = status == 429 or status >= 500


class NotFoundError(ApiError):
    """404: the object, the namespace or the resource type is not there."""


class ConflictError(ApiError):
    """409: it exists already, or it is not what it was when it was read."""


class ForbiddenError(ApiError):
    """401 or 403: who asks may not."""


class InvalidError(ApiError):
    """422: refused by validation or admission, or a `test` of a JSON patch failed."""
