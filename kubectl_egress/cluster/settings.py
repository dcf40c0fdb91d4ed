"""Mesh-wide settings as Istio's own ConfigMaps hold them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kubectl_egress.model import DNS_AUTO_ALLOCATE, DNS_CAPTURE, Body, MeshSettings

SYSTEM_NAMESPACE = "istio-system"
REVISION_LABEL = "istio.io/rev"


def config_map_names(revision: str) -> tuple[str, str]:
    """The ConfigMaps of a revision's control plane: mesh config, injector's values (Istio's charts, `istio-control`)."""
    suffix = f"-{revision}" if revision not in ("", "default") else ""
    return f"istio{suffix}", f"istio-sidecar-injector{suffix}"


def mesh_settings(mesh: Body | None, injector: Body | None) -> MeshSettings:
    """Read both ConfigMaps; the defaults stand for what one does not say. `known` only if both are there and readable."""
    config, values = _mesh_config(mesh), _values(injector)
    settings = MeshSettings(known=config is not None and values is not None)
    if config is not None:
        metadata = _part(_part(config, "defaultConfig"), "proxyMetadata")
        settings = replace(
            settings,
            root_namespace=str(config.get("rootNamespace") or settings.root_namespace),
            outbound_mode=str(_part(config, "outboundTrafficPolicy").get("mode") or settings.outbound_mode),
            dns_capture=_true(metadata.get(DNS_CAPTURE)),
            auto_allocate=_true(metadata.get(DNS_AUTO_ALLOCATE)),
            interception_mode=str(_part(config, "defaultConfig").get("interceptionMode") or settings.interception_mode),
        )
    if values is not None:
        mesh_wide = _part(values, "global")
        proxy = _part(mesh_wide, "proxy")
        settings = replace(
            settings,
            include_outbound_ports=_text(proxy, "includeOutboundPorts", settings.include_outbound_ports),
            exclude_outbound_ports=_text(proxy, "excludeOutboundPorts", settings.exclude_outbound_ports),
            include_ip_ranges=_text(proxy, "includeIPRanges", settings.include_ip_ranges),
            exclude_ip_ranges=_text(proxy, "excludeIPRanges", settings.exclude_ip_ranges),
            cluster_domain=_text(proxy, "clusterDomain", settings.cluster_domain),
            inject_everywhere=_true(_part(values, "sidecarInjectorWebhook").get("enableNamespacesByDefault")),
            injection_disabled=_policy(injector) == "disabled",
        )
    return settings


def _mesh_config(config_map: Body | None) -> Mapping[str, Any] | None:
    """The mesh config, which is YAML in a string; None if it is not there or broken."""
    text = (config_map or {}).get("data", {}).get("mesh")
    if not isinstance(text, str):
        return None
    # A dependency of the client; 15 ms.
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return document if isinstance(document, dict) else {} if document is None else None


def _values(config_map: Body | None) -> Mapping[str, Any] | None:
    """The values that the injector's template is filled with, which are JSON in a string."""
    text = (config_map or {}).get("data", {}).get("values")
    if not isinstance(text, str):
        return None
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _policy(injector: Body | None) -> str:
    """The injector's policy; its `config` is YAML whose templates, by far the most of it, need not be read."""
    found = re.search(r"^policy:[ \t]*(\w+)", str((injector or {}).get("data", {}).get("config", "")), re.MULTILINE)
    return found[1] if found else ""


def _part(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = mapping.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(mapping: Mapping[str, Any], key: str, default: str) -> str:
    """A setting that is written as a string, a number or not at all; an empty string is a setting."""
    value = mapping.get(key)
    return default if value is None else str(value)


def _true(value: object) -> bool:
    return str(value).lower() == "true"
