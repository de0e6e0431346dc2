"""The rules of MLPerf Storage for a training workload, and whether a run meets them.

The rules are those of Submission_guidelines.md of v2.0, sections 2, 6 and 7, and of the workload resnet50_h100. The
data, tool and decoding differ by design, and no result of this module may be called one of MLPerf Storage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from .accelerators import BATCH_SIZE, RECORD_BYTES

MEMORY_FACTOR = 5
LEAST_STEPS = 500
RUNS = 5
EPOCHS = 5
REPLICABLE = 0.05


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule of the standard, and how these runs compare with it."""

    name: str
    requires: str
    here: str
    met: bool


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the rules are compared with: the runs of one number of accelerators."""

    accelerators: int
    batch_size: int
    samples: int
    """Images of the train split."""
    data_bytes: int
    memory_bytes: int
    state: Literal["warm", "cold"]
    """The state of the data before each run."""
    seeds: Sequence[int]
    """The seed of each run."""
    rates: Sequence[float]
    """Images/s of each run."""
    epochs: Sequence[int]
    """Epochs that each run began."""
    in_a_row: int
    """The most of these runs without one of another number of accelerators between them."""
    runs_before: int
    """Emulated runs before those in a row."""


def compare_with_rules(found: Conditions) -> tuple[Rule, ...]:
    """Return the rules, those that can be met by more data or longer runs first."""
    steps, runs = found.samples // (found.batch_size * found.accelerators), len(found.rates)
    ratio = found.data_bytes / found.memory_bytes
    spread = (max(found.rates) - min(found.rates)) / median(found.rates)
    seeds = len(set(found.seeds))
    return (
        Rule(
            name="data",
            requires=f"{MEMORY_FACTOR} times the memory of the host",
            here=f"{ratio:.2g} times: {_gib(found.data_bytes)} of data, {_gib(found.memory_bytes)} of memory",
            met=ratio >= MEMORY_FACTOR,
        ),
        Rule(
            name="cache",
            requires="the data are not in the host's memory",
            here=f"{found.state} before each run",
            met=found.state == "cold",
        ),
        Rule(
            name="steps",
            requires=f"at least {LEAST_STEPS} in an epoch",
            here=f"{steps:,}",
            met=steps >= LEAST_STEPS,
        ),
        Rule(
            name="epochs",
            requires=f"{EPOCHS} whole epochs in a run",
            here=f"a run stops by time; the shortest began {min(found.epochs)}",
            met=False,
        ),
        Rule(
            name="runs",
            requires=f"{RUNS} in a row, after one to warm up",
            here=f"{found.in_a_row}, after {found.runs_before} other{'s' if found.runs_before != 1 else ''}",
            met=found.in_a_row >= RUNS and found.runs_before > 0,
        ),
        Rule(
            name="replicable",
            requires=f"the runs are within {REPLICABLE:.0%} of each other",
            here="only one run" if runs == 1 else f"{spread:.1%} in images/s",
            met=runs > 1 and spread <= REPLICABLE,
        ),
        Rule(
            name="seed",
            requires="another one in each run",
            here=f"{seeds} in {runs} run{'s' if runs != 1 else ''}",
            met=seeds == runs > 1,
        ),
        Rule(
            name="batch",
            requires=f"{BATCH_SIZE} images",
            here=f"{found.batch_size}",
            met=found.batch_size == BATCH_SIZE,
        ),
        Rule(
            name="records",
            requires=f"generated, {RECORD_BYTES:,} bytes each, in TFRecord files",
            here=f"the images of ROOT, {found.data_bytes / found.samples:,.0f} bytes each",
            met=False,
        ),
        Rule(
            name="work",
            requires="records go into memory, nothing is decoded",
            here="JPEGs are decoded, cropped, resized and flipped too",
            met=False,
        ),
        Rule(name="tool", requires="DLIO with TensorFlow's reader", here="feedline with its loader", met=False),
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB"
