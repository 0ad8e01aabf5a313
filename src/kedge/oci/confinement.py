"""Paths every runtime hides from containers or shows read-only, as moby's defaults list them.

The engine writes them into the bundles it makes, `kedge-runtime spec` into the one it prints.
"""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


MASKED_PATHS: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)

READONLY_PATHS: Final = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)
