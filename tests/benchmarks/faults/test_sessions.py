"""A command in a session: what it leaves, and whether a fault met it."""

import os
import sys
from pathlib import Path

import pytest

from feedline.benchmarks.faults import sessions
from feedline.benchmarks.faults.sessions import members, run_command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sessions are POSIX")


def test_a_process_that_outlives_the_command_is_counted_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found though its parent has ended."""
    monkeypatch.setattr(sessions, "GRACE_SECONDS", 0.3)
    seen: list[int] = []
    done = run_command(
        ["sh", "-c", "echo go; sleep 600 & sleep 0.2"],
        dict(os.environ),
        tmp_path / "log",
        20.0,
        marker="go",
        disturb=lambda session: bool(seen.append(session)) or True,
    )

    assert done.code == 0 and done.processes_left == 1 and done.met and done.first_output is not None
    assert members(seen[0]) == []


def test_a_command_that_ends_before_the_fault_does_not_meet_it(tmp_path: Path) -> None:
    """Nothing is disturbed then; the same if the marker never comes."""
    for moment, marker in ((60.0, None), (0.0, "never")):
        disturbed: list[int] = []
        done = run_command(
            ["sh", "-c", "echo go"],
            dict(os.environ),
            tmp_path / "log",
            20.0,
            moment=moment,
            marker=marker,
            disturb=lambda session, seen=disturbed: bool(seen.append(session)) or True,
        )
        assert done.code == 0 and not done.met and disturbed == []


def test_a_command_that_takes_too_long_hangs(tmp_path: Path) -> None:
    """It is ended, and its code is None."""
    done = run_command(["sleep", "600"], dict(os.environ), tmp_path / "log", 0.3)
    assert done.code is None and done.seconds < 20
