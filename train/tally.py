"""The sums of training steps on their way to the host, and the time that the device waited for batches.

Reading a number from a GPU waits until everything before it is computed, so a step that reads its loss leaves the GPU
without work until Python has launched the next step. Here each step's sums are copied to pinned memory behind the step,
and read after the next step has been launched. So the device always has one step ahead, Python is never more than one
step ahead of it, and a loss that is not finite is reported one step late with its own step number.
"""

import math
from collections import deque
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from .metrics import NotFinite, Sums


@dataclass(frozen=True)
class _Step:
    number: int
    sums: torch.Tensor
    """float64 (4,) on the host; complete once ``done`` has happened."""
    done: Any
    """The CUDA event behind the copy; None on the CPU, where the sums are complete at once."""


class Tally:
    """The sums of the steps since the last ``take``."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self._waiting = deque[_Step]()
        self._settled: list[Sums] = []

    def add(self, number: int, sums: torch.Tensor) -> None:
        """Add the sums of a step that was launched, float64 (4,) on the device; settle all steps before it.

        Raises NotFinite, with its number, for a settled step whose loss is not finite.
        """
        self._waiting.append(_Step(number, *self._to_host(sums)))
        self._settle(leave=1)

    def take(self) -> list[Sums]:
        """Wait for the steps that were added, and return the sums of each since the last call. Raises NotFinite."""
        self._settle(leave=0)
        taken, self._settled = self._settled, []
        return taken

    def _to_host(self, sums: torch.Tensor) -> tuple[torch.Tensor, Any]:
        if not self._cuda:
            return sums, None
        host = torch.empty(sums.shape, dtype=sums.dtype, device="cpu", pin_memory=True)
        host.copy_(sums, non_blocking=True)
        done = torch.cuda.Event()
        done.record()
        return host, done

    def _settle(self, leave: int) -> None:
        while len(self._waiting) > leave:
            step = self._waiting.popleft()
            if step.done is not None:
                step.done.synchronize()
            sums = Sums.from_values([float(value) for value in step.sums.numpy()])
            if not math.isfinite(sums.loss):
                raise NotFinite(f"the loss became {sums.loss}", step.number)
            self._settled.append(sums)


class StepClock:
    """Seconds that the device waited for batches, and seconds that it worked, since the last ``take``.

    On a GPU, both come from CUDA events around each step: Python's own waits overlap with the device's work, so they
    would count a loader as slow that the device never waited for. On the CPU, they are Python's.
    """

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self._waits: list[tuple[Any, Any]] = []
        self._works: list[tuple[Any, Any]] = []
        self._last = self._now()

    def start(self) -> None:
        """Begin to wait for the first batch."""
        self._last = self._now()

    def begin_step(self) -> None:
        """End the wait: the batch has arrived."""
        self._waits.append((self._last, now := self._now()))
        self._last = now

    def end_step(self) -> None:
        """End the step, and begin to wait for the next batch."""
        self._works.append((self._last, now := self._now()))
        self._last = now

    def take(self) -> tuple[float, float]:
        """Return the seconds of waiting and of work since the last call. The steps must have been settled."""
        wait, work = (sum(self._seconds(*span) for span in spans) for spans in (self._waits, self._works))
        self._waits, self._works = [], []
        return wait, work

    def _now(self) -> Any:
        if not self._cuda:
            return perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _seconds(self, began: Any, ended: Any) -> float:
        if not self._cuda:
            return ended - began
        ended.synchronize()
        return began.elapsed_time(ended) / 1000
