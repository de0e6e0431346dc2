"""The number of CPUs that this process may use.

``os.cpu_count()`` returns the number of CPUs of the machine. A container or a batch system usually grants fewer, by
affinity or by a cgroup quota. One worker per physical CPU then only makes the workers wait for each other.
"""

import math
import os
from pathlib import Path


def usable_cpus() -> int:
    """Return the number of CPUs granted by affinity and by cgroup quota (v2 or v1), at least 1."""
    # Windows and macOS have no sched_getaffinity.
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(granted, math.ceil(cgroup_quota() or granted)))


def cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the cgroup quota in CPUs, or None if there is no quota or it cannot be read."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return int(quota) / int(period)
