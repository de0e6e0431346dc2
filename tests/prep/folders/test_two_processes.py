"""Two processes with one output: one writes, the other ends at once and names the first. Real processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import prepare_imagenet, verify, write_shards

from ..trees import TRAIN

HOLD = """
import sys
from pathlib import Path
from feedline.prep.base.lock import claimed
with claimed(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.readline()
"""


class Holding:
    """A process that holds the lock of a directory until it is told to end, or is killed."""

    def __init__(self, out: Path, command: str) -> None:
        arguments = [sys.executable, "-c", HOLD, str(out), command]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout and self.process.stdout.readline() == "held\n"

    def __enter__(self) -> "Holding":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def feedline(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from feedline.cli.main import main; main()", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_second_prep_ends_at_once_and_names_the_first(
    archives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with Holding(out, "prep imagenet") as first:
        assert run(["prep", "imagenet", str(archives), "--out", str(out)]) == 1
        said = capsys.readouterr().err
        names = f"{out} is being written by feedline prep imagenet, process {first.process.pid} on "
        assert names in said and said.strip().endswith("wait until it ends, then run the same command again")
        assert sorted(path.name for path in out.iterdir()) == [".feedline.lock", ".feedline.lock.json"]


def test_shard_and_index_only_lock_as_well(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = tmp_path / "shards"
    write_shards(root, out=shards)
    with Holding(shards, "shard"):
        assert run(["shard", str(root), "--out", str(shards)]) == 1
        assert run(["shard", "--index-only", str(shards)]) == 1
        assert run(["verify", str(shards)]) == 0  # reading takes no lock
    assert capsys.readouterr().err.count(f"{shards} is being written by feedline shard, process ") == 2
    assert run(["shard", "--index-only", str(tmp_path / "missing")]) == 1 and not (tmp_path / "missing").exists()


def test_what_a_killed_process_left_is_no_obstacle(archives: Path, tmp_path: Path) -> None:
    """Its files stay, and its lock is gone."""
    out = tmp_path / "out"
    with Holding(out, "prep imagenet") as first:
        os.kill(first.process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        first.process.wait()
    assert (out / ".feedline.lock").exists()

    prepare_imagenet([archives], out)

    assert not [path.name for path in out.iterdir() if path.name.startswith(".")] and verify(out).ok


def test_a_command_that_is_refused_leaves_no_directory(archives: Path, tmp_path: Path) -> None:
    listed = tmp_path / "classes.txt"
    listed.write_text("n99999999")

    assert run(["prep", "imagenet", str(archives), "--out", str(tmp_path / "a/b"), "--classes", str(listed)]) == 1
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["prep", "shard"])
def test_of_pairs_that_start_together_the_result_is_whole(
    archives: Path, root: Path, tmp_path: Path, command: str
) -> None:
    """Whichever comes first: exit 0 with everything there, or exit 1 with the sentence above."""
    for number in range(4):
        out = tmp_path / f"out-{number}"
        arguments = ("prep", "imagenet", archives) if command == "prep" else ("shard", root, "--shard-count", "3")
        pair = [feedline(*arguments, "--out", out) for _ in range(2)]
        ends = [(process.communicate()[1], process.returncode) for process in pair]

        assert any(code == 0 for _, code in ends), ends
        assert all(code == 0 or (code == 1 and "is being written by" in said) for said, code in ends), ends
        assert verify(out).ok
        assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


def test_what_another_writer_changed_is_counted_before_the_manifest(archives: Path, tmp_path: Path) -> None:
    """A program that takes no lock removes a file while the archive is read."""
    out = tmp_path / "out"

    arguments = ["prep", "imagenet", str(archives / TRAIN), "--out", str(out), "--workers", "1"]
    child = subprocess.run(
        [sys.executable, "-c", MEDDLE, str(out), *arguments], capture_output=True, text=True, timeout=120
    )

    assert child.returncode == 1 and "something else writes there" in child.stderr, child.stderr
    assert not (out / "manifest.json").exists()


MEDDLE = """
import sys
from pathlib import Path
from feedline.cli.main import run
import feedline.prep.folders.prepare as prepare

write, out = prepare.write_units, Path(sys.argv[1])

def and_meddle(*arguments):
    counts = write(*arguments)
    next((out / "train").rglob("*.JPEG")).unlink()
    return counts

prepare.write_units = and_meddle
sys.exit(run(sys.argv[2:]))
"""
