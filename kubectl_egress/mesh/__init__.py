"""The mesh's objects: those that a migration writes, those that it takes over, and which of several is in effect."""

from __future__ import annotations

from kubectl_egress.mesh.adoption import adopt, export_of, fits
from kubectl_egress.mesh.lookup import (
    EffectiveRule,
    covers,
    effective_rule,
    entries_for,
    exported_to,
    of_kind,
    routes_for,
)
from kubectl_egress.mesh.objects import (
    ALIAS_ANNOTATION,
    ALIAS_NETWORK,
    ALIAS_NETWORK_V6,
    API_VERSION,
    CLEAR_PORT,
    OWN_HEADERS,
    SUBSET,
    TLS_PORT,
    alias_address,
    alias_address_v6,
    alias_of,
    destination_rule,
    is_alias_address,
    is_ours,
    named_entry,
    object_name,
    service_entry,
    tls_settings,
    virtual_service,
)
from kubectl_egress.mesh.registry import served_inside, serving
from kubectl_egress.mesh.short_names import short_route, short_service

__all__ = [
    "ALIAS_ANNOTATION",
    "ALIAS_NETWORK",
    "ALIAS_NETWORK_V6",
    "API_VERSION",
    "CLEAR_PORT",
    "OWN_HEADERS",
    "SUBSET",
    "TLS_PORT",
    "EffectiveRule",
    "adopt",
    "alias_address",
    "alias_address_v6",
    "alias_of",
    "covers",
    "destination_rule",
    "effective_rule",
    "entries_for",
    "export_of",
    "exported_to",
    "fits",
    "is_alias_address",
    "is_ours",
    "named_entry",
    "object_name",
    "of_kind",
    "routes_for",
    "served_inside",
    "service_entry",
    "serving",
    "short_route",
    "short_service",
    "tls_settings",
    "virtual_service",
]
