"""The number of CPUs that this process may use.

``os.cpu_count()`` returns the number of CPUs of the machine. A container or a batch system usually grants fewer, by
affinity or by a cgroup quota. One worker per physical CPU then only makes the workers wait for each other. The affinity
that Linux reports is already within the cpuset of the cgroup.
"""

import math
import os
from pathlib import Path

from .cgroups import MOUNT, OWN, cpu_quota


def usable_cpus() -> int:
    """Return the number of CPUs granted by affinity and by cgroup quota (v2 or v1), at least 1."""
    # Windows and macOS have no sched_getaffinity.
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(granted, math.ceil(cgroup_quota() or granted)))


def cgroup_quota(mount: Path = MOUNT, own: Path = OWN) -> float | None:
    """Return the least CPU quota of this process's cgroup and those above it, in CPUs; None if there is none."""
    quota = cpu_quota(mount, own)
    return None if quota is None else quota.limit
