"""Accelerators side by side in processes that fail; ``test_command`` has real ones."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from feedline.benchmarks.utilisation.child import EmulationJob
from feedline.benchmarks.utilisation.processes import run_side_by_side
from feedline.loaders import LoaderSpec
from feedline.prep import MeasurementError

# The protocol of an accelerator without its imports: "good" makes steps until it is stopped, the others fail.
FAKE = """
import json, sys, time
loader = json.loads(sys.stdin.readline())["loader"]
emulated = {"steps": 3, "compute_seconds": 9, "seconds": 10, "images": 12, "whole_seconds": 12, "epochs": 1,
            "cpu_seconds": None}
steps = 0
while True:
    print("step", flush=True)
    if sys.stdin.readline().strip() == "stop":
        print("x" * 200_000, file=sys.stderr)
        print(json.dumps({"emulated": emulated}), flush=True)
        break
    steps += 1
    if loader == "dies" and steps == 2:
        sys.exit("out of luck")
    if loader == "problem" and steps == 2:
        print(json.dumps({"problem": "sample 7 is damaged; run: feedline verify"}), flush=True)
        break
    if loader == "hangs" and steps == 2:
        time.sleep(600)
"""


def jobs(root: Path, *loaders: str) -> list[EmulationJob]:
    spec = LoaderSpec(root=root, batch_size=4, image_size=32, drop_last=True, world_size=len(loaders), rank=0)
    return [
        EmulationJob(loader=loader, spec=replace(spec, rank=rank), seconds_per_image=0.001)
        for rank, loader in enumerate(loaders)
    ]


def run_fake(root: Path, *loaders: str, timeout: float = 60.0) -> list[float]:
    """Run programs that imitate accelerators; return their utilisations, and leave no process."""
    try:
        found = run_side_by_side(jobs(root, *loaders), 0.05, timeout, (sys.executable, "-c", FAKE))
        return [result.au for result in found]
    finally:
        assert psutil.Process(os.getpid()).children() == []


def test_all_steps_are_made_together_and_counted(tmp_path: Path) -> None:
    """Three accelerators stop after the same step, and much output on stderr blocks none."""
    assert run_fake(tmp_path, "good", "good", "good") == [0.9, 0.9, 0.9]


@pytest.mark.parametrize(
    ("loader", "timeout", "sentence"),
    [
        ("dies", 60, "exit code 1: out of luck"),
        ("problem", 60, "sample 7 is damaged; run: feedline verify"),
        ("hangs", 1, "2 emulated accelerators took more than 1 s"),
    ],
)
def test_an_accelerator_that_fails_ends_the_others(tmp_path: Path, loader: str, timeout: float, sentence: str) -> None:
    """The others wait for its step. They are ended, and the error says why."""
    with pytest.raises(MeasurementError, match=sentence):
        run_fake(tmp_path, "good", loader, timeout=timeout)


def test_a_program_that_is_missing_is_no_hang(tmp_path: Path) -> None:
    """An accelerator that cannot start its module reports that."""
    with pytest.raises(MeasurementError, match="No module named"):
        run_side_by_side(jobs(tmp_path, "good"), 0.05, 60, (sys.executable, "-m", "feedline_is_not_here"))
