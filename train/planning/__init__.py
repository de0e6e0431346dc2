"""What a training will do, before it does anything: steps, image sizes, learning rates, memory and disk.

Here belongs what ``feedline train --dry-run`` computes from the settings and the data set. The time that a run takes
is not here: it comes from benchmarks, which this package cannot import.
"""

from .memory import Memory
from .plan import Disk, RatePoint, RunPlan, SizeSpan, plan_run

__all__ = ["Disk", "Memory", "RatePoint", "RunPlan", "SizeSpan", "plan_run"]
