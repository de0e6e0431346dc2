"""Disks that fill up, have no inodes left or turn read-only while a command writes: what is said, and what is left."""

import errno
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import MANIFEST, verify
from feedline.prep.base.disks import reason_of
from feedline.prep.base.output import PARTIAL


class Disk:
    """A RAM disk whose size can change."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def resize(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.place)], check=True, capture_output=True)

    def clear(self) -> None:
        for path in self.place.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A RAM disk at a path of its own; skips the test where mounting one is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small RAM disk needs Linux and root")
    yield Disk(place)
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def no_look_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands begin on a disk that is too small, as if something else filled it while they ran."""
    for module in ("prep.folders.labelled", "prep.folders.prepare", "prep.shards.writing.destination"):
        monkeypatch.setattr(f"feedline.{module}.require_room", lambda *_: None)


def left_over(place: Path) -> list[str]:
    """Return temporary files outside of the folder for unfinished files, and locks."""
    names = [path.relative_to(place).as_posix() for path in place.rglob("*") if PARTIAL not in path.parts]
    return [name for name in names if name.endswith((".partial", ".lock", ".lock.json")) and not name.endswith(PARTIAL)]


Command = Callable[[Path, Path, Path], list[str]]
COMMANDS: dict[str, Command] = {
    "prep imagenet": lambda archives, root, disk: ["prep", "imagenet", str(archives), "--out", str(disk / "out")],
    "prep imagefolder": lambda archives, root, disk: ["prep", "imagefolder", f"{root}/train", "--out", f"{disk}/out"],
    "shard": lambda archives, root, disk: ["shard", str(root), "--out", f"{disk}/out", "--shard-size", "60kB"],
}


@pytest.mark.parametrize("filled", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.usefixtures("no_look_ahead")
def test_a_disk_that_fills_up_is_named_and_the_same_command_goes_on(
    name: str, filled: float, disk: Disk, archives: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence with the disk and what it has free; no manifest; with room, the same command finishes the work."""
    command, out = COMMANDS[name](archives, root, disk.place), disk.place / "out"
    assert run(command) == 0
    needed = shutil.disk_usage(disk.place).used
    disk.clear()
    disk.resize(f"size={max(4096, int(needed * filled))}")
    capsys.readouterr()

    assert run(command) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(rf"No space left on device \({disk.place} has .* of .* free.*\)", said), said
    assert "run the same command again" in said
    assert "Traceback" not in said and "bug" not in said
    assert not (out / MANIFEST).exists()
    assert left_over(disk.place) == []

    disk.resize("size=64m")
    assert run(command) == 0
    assert verify(out).ok
    assert not (out / PARTIAL).exists() and left_over(disk.place) == []


@pytest.mark.usefixtures("no_look_ahead")
def test_a_disk_without_inodes_and_a_read_only_one_are_named(
    disk: Disk, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Room for bytes and none for files; then what a kernel does to a disk with errors."""
    command = COMMANDS["prep imagefolder"](root, root, disk.place)
    disk.resize("nr_inodes=20")
    assert run(command) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(rf"No space left on device \({disk.place} has room for \d+ more files, of 20\)", said), said

    disk.resize("nr_inodes=1000,ro")
    assert run(command) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"({disk.place} is mounted read-only, as after an error of the disk)" in said
    disk.resize("nr_inodes=1000,rw")
    assert run(command) == 0


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EDQUOT, "the quota of this user on / is used up"),
        (errno.EIO, "/ or its connection fails"),
        (errno.EFBIG, "has a largest size of a file"),
        (errno.EACCES, "Permission denied"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the root is the only disk for sure")
def test_each_fault_of_a_disk_has_its_words(number: int, words: str) -> None:
    said = reason_of(OSError(number, os.strerror(number)), "/nothing/of/this")
    assert said.startswith(os.strerror(number))
    assert words in said


def test_an_error_at_the_flush_names_the_file(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """File systems that reserve room late report a full disk only there, and Python then names no file."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert run(["shard", str(root), "--out", str(tmp_path / "shards")]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"{tmp_path}/shards/" in said and "No space left on device" in said
    monkeypatch.undo()
    assert run(["shard", str(root), "--out", str(tmp_path / "shards")]) == 0


def test_synthetic_folders_leave_nothing_on_a_full_disk(disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["prep", "synthetic", f"{disk.place}/out", "--layout", "imagefolder", "--classes", "2"]
    disk.resize("size=100k")
    assert run([*command, "--images-per-class", "20"]) == 1
    assert f"({disk.place} has" in " ".join(capsys.readouterr().err.split())
    assert list(disk.place.iterdir()) == []


def test_what_was_measured_is_kept_when_its_disk_is_full(
    disk: Disk, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record of the only run fits, and the table does not. The command that is advised measures nothing again."""
    monkeypatch.chdir(disk.place)
    out = disk.place / "bench"
    bench = ["bench", str(root), "--loader", "threaded", "--workers", "1", "--image-size", "32", "--repeats", "1"]
    disk.resize("size=4k")
    assert run([*bench, "--seconds", "0.1", "--out", str(out)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(rf"cannot write {out}/bench.csv: No space left on device \({disk.place} has 0 bytes", said), said
    assert "all runs are measured; make room there, then see them with: " in said
    advised = shlex.split(said.partition("see them with: feedline ")[2])
    assert run(advised) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "report.html: No space left on device" in said and "choose another --out" in said
    assert left_over(disk.place) == []

    disk.resize("size=64m")
    assert run(advised) == 0
    assert {path.name for path in disk.place.iterdir()} == {"bench", "bench.csv", "report.html"}


KEPT = """
import numpy as np
from feedline.prep.base.compiled import number, unkept
print(number(np.arange(5), 3), dict(unkept))
"""


def test_compiled_functions_are_used_though_the_cache_is_full(disk: Disk) -> None:
    """numba's own error would end the command that needs the function."""
    disk.resize("size=4k")
    (disk.place / "full").write_bytes(bytes(4096))
    done = subprocess.run(
        [sys.executable, "-c", KEPT],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(disk.place)},
    )
    assert (done.returncode, done.stdout) == (0, "3 {'number': 1}\n"), done.stderr[-1000:]
    assert [path.name for path in disk.place.rglob("*") if path.is_file()] == ["full"]
