"""What a patch request does to an object, by its content type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kubectl_egress.lab.api.patches import json_patch, merge_patch, strategic_patch
from kubectl_egress.lab.api.requests import Target
from kubectl_egress.lab.api.resources import MESH_KINDS
from kubectl_egress.lab.api.shapes import checked, refuse_patched
from kubectl_egress.lab.api.status import bad_request, patch_failed, unsupported_media_type
from kubectl_egress.lab.api.subresources import scale_of, scaled

Body = Mapping[str, Any]


def edit_of(content_type: str, patch: Any, aim: Target, *, strict: bool) -> Callable[[dict[str, Any]], Body]:
    """What a patch does to an object, or to its Scale.

    Raises StatusError (415) for a patch of a type that the lab does not do, and 400 for a malformed one; what it gives
    raises 422 where the patch fails, or makes something that is no such object.
    """
    applied = _PATCHES.get(content_type)
    if content_type.startswith("application/apply-patch"):
        raise unsupported_media_type("the lab's API server has no server-side apply: use create, replace or patch")
    if applied is None:
        known = ", ".join(_PATCHES)
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {known}"
        )
    if content_type == "application/strategic-merge-patch+json" and aim.resource.kind in MESH_KINDS:
        # the real server knows no merge keys of custom resources either.
        known = "application/json-patch+json, application/merge-patch+json"
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {known}"
        )
    if content_type != "application/json-patch+json" and not isinstance(patch, dict):
        raise bad_request("a merge patch is an object")

    def edit(body: dict[str, Any]) -> Body:
        if aim.subresource == "scale":
            return scaled(body, applied(scale_of(body), patch))
        edited = applied(aim.served(body), patch)
        if not isinstance(edited, dict):
            raise patch_failed()
        refuse_patched(edited, aim.resource, strict=strict)
        return {**checked(edited, aim.resource, strict=False), "apiVersion": body["apiVersion"]}

    return edit


_PATCHES: dict[str, Callable[[Any, Any], Any]] = {
    "application/json-patch+json": json_patch,
    "application/merge-patch+json": merge_patch,
    "application/strategic-merge-patch+json": strategic_patch,
}
