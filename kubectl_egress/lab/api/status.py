"""What the API server answers when it says no: Status objects, in the real server's words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_egress.lab.api.resources import Resource


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that is wrong: `spec.selector: Invalid value: …`, its parts as in StatusCause."""

    field: str
    reason: str
    """FieldValueRequired, FieldValueInvalid, FieldValueForbidden, …"""
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def invalid_value(field: str, value: Any, why: str) -> Cause:
    """A value that does not fit."""
    return Cause(field, "FieldValueInvalid", f"Invalid value: {json.dumps(value)}: {why}")


class StatusError(Exception):
    """A refusal: `code` is the HTTP status, `reason` Kubernetes' own word, `details` as in metav1.Status."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def body(self) -> dict[str, Any]:
        """The Status object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        return status


def _details(resource: Resource, name: str) -> dict[str, Any]:
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in details.items() if value}


def not_found(resource: Resource, name: str) -> StatusError:
    """404 for an object."""
    return StatusError(404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name))


def no_such_path() -> StatusError:
    """404 for a path: what kubectl turns into `the server doesn't have a resource type`."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: Resource, name: str) -> StatusError:
    """409 on create."""
    message = f'{resource.qualified} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> StatusError:
    """409 on a resourceVersion that is not the current one, or on a failed precondition."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(resource, name))


def conflict_of_deletion(resource: Resource, name: str, what: str, wanted: str, found: str) -> StatusError:
    """409 on a delete whose precondition does not hold (registry/generic/registry/store.go); it names the kind."""
    why = (
        f"the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). "
        "The object might have been deleted and then recreated"
    )
    message = f'Operation cannot be fulfilled on {resource.kind} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(resource, name))


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> StatusError:
    """422 with what is wrong, field by field."""
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    text = str(causes[0]) if len(causes) == 1 else f"[{', '.join(str(cause) for cause in causes)}]"
    details: dict[str, Any] = {"name": name, "group": resource.group, "kind": resource.kind}
    details = {key: value for key, value in details.items() if value}
    details["causes"] = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    return StatusError(422, "Invalid", f'{kind} "{name}" is invalid: {text}', details)


def version_required(resource: Resource, name: str) -> StatusError:
    """422 on a replacement of a custom resource that does not say of which version; it names the resource."""
    why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    return StatusError(422, "Invalid", f'{resource.qualified} "{name}" is invalid: {why}', _details(resource, name))


def patch_failed() -> StatusError:
    """422 for a JSON patch that cannot be applied, a failed `test` included.

    The real server drops what failed: errors.NewGenericServerResponse takes its own sentence for 422
    (apiserver/pkg/endpoints/handlers/patch.go, apimachinery/pkg/api/errors/errors.go).
    """
    return StatusError(422, "Invalid", "the server rejected our request due to an error in our request")


def undecodable(resource: Resource, why: str) -> StatusError:
    """400 for a body that is no object of the resource."""
    version = resource.versions[0]
    return bad_request(f'{resource.kind} in version "{version}" cannot be handled as a {resource.kind}: {why}')


def undecodable_patch(body: Mapping[str, Any], why: str) -> StatusError:
    """422 for what a patch has made of an object: the real server's message holds all of it, secrets too."""
    message = f"Invalid value: {json.dumps(json.dumps(body))}: {why}"
    cause = {"reason": "FieldValueInvalid", "message": message, "field": "patch"}
    return StatusError(422, "Invalid", f' "" is invalid: patch: {message}', {"causes": [cause]})


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(400, "BadRequest", message)


def denied(webhook: str, message: str) -> StatusError:
    """400 without a reason: how the API server passes on a webhook's refusal that names no code."""
    return StatusError(400, "", f'admission webhook "{webhook}" denied the request: {message}')


def unauthorized() -> StatusError:
    """401."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: Resource, name: str, why: str) -> StatusError:
    """403; `why` is the part after `is forbidden: `."""
    what = f'{resource.qualified} "{name}"' if name else resource.qualified
    return StatusError(403, "Forbidden", f"{what} is forbidden: {why}", _details(resource, name))


def expired(message: str) -> StatusError:
    """410: a resourceVersion or a continue token from too long ago."""
    return StatusError(410, "Expired", message)


def method_not_allowed(resource: Resource) -> StatusError:
    """405 for a verb that the resource does not have here."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, _details(resource, ""))


def unsupported_media_type(message: str) -> StatusError:
    """415 for a patch of a type that the lab does not do."""
    return StatusError(415, "UnsupportedMediaType", message)


def not_in_the_lab(what: str) -> StatusError:
    """501 for what a real API server does and this one does not."""
    return StatusError(501, "NotImplemented", f"the lab's API server does not do this: {what}")
