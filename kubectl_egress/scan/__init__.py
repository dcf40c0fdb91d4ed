"""What the pods of a workload call, as far as its pod template and the ConfigMaps and Secrets that it reads say so."""

from __future__ import annotations

from kubectl_egress.scan.call_sites import (
    REASON_COMMENT,
    REASON_COMPOSED,
    REASON_KUBELET,
    REASON_REGISTRY,
    REASON_SERVICE,
    REASON_SHARED,
    is_aside,
    is_identifier,
    scan,
)
from kubectl_egress.scan.files import values_of
from kubectl_egress.scan.parts import used_by
from kubectl_egress.scan.plain import plain_urls
from kubectl_egress.scan.references import config_map_references, source_references
from kubectl_egress.scan.showing import shown_site

__all__ = [
    "REASON_COMMENT",
    "REASON_COMPOSED",
    "REASON_KUBELET",
    "REASON_REGISTRY",
    "REASON_SERVICE",
    "REASON_SHARED",
    "config_map_references",
    "is_aside",
    "is_identifier",
    "plain_urls",
    "scan",
    "shown_site",
    "source_references",
    "used_by",
    "values_of",
]
