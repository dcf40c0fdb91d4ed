"""Decide what to write, in which order: values in, a Plan out, nothing done."""

from __future__ import annotations

from kubectl_egress.plan.by_hand import by_hand
from kubectl_egress.plan.by_hand_waiting import Command
from kubectl_egress.plan.callers_undo import CHANGED_SINCE
from kubectl_egress.plan.calling import baselines, calling
from kubectl_egress.plan.file_edits import FileChange, FilePlan, FileRequest, plan_files
from kubectl_egress.plan.migration import MigrationRequest, plan_migration
from kubectl_egress.plan.overlays import is_overlay, overlay_files
from kubectl_egress.plan.own_files import egress_files
from kubectl_egress.plan.permissions import permissions
from kubectl_egress.plan.taking_back import found_migrated
from kubectl_egress.plan.undo import plan_undo

__all__ = [
    "CHANGED_SINCE",
    "Command",
    "FileChange",
    "FilePlan",
    "FileRequest",
    "MigrationRequest",
    "baselines",
    "by_hand",
    "calling",
    "egress_files",
    "found_migrated",
    "is_overlay",
    "overlay_files",
    "permissions",
    "plan_files",
    "plan_migration",
    "plan_undo",
]
