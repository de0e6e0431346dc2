"""Killed, interrupted or crashed at any moment: run again, and the result is the same, with nothing done twice.

The child processes end themselves at a chosen file operation (an audit hook counts them), so every point of the
work is hit exactly and no test waits for a clock.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from feedline.prep import (
    OutputError,
    SyntheticSpec,
    prepare_imagenet,
    prepare_tiny_imagenet,
    verify,
    write_synthetic,
)

from ..trees import TRAIN, VAL

pytestmark = pytest.mark.slow

CHILD = """
import os, signal, sys
from feedline.cli.main import run
from feedline.prep.base import flush

flush.BYTES = 0  # each folder is put in place as soon as it is whole, so that every point of the work is hit

out, action, point, *arguments = sys.argv[1:]
EVENTS = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.rmtree"}
count = 0

def hook(event, args):
    global count
    if event in EVENTS and args and isinstance(args[0], (str, os.PathLike)) and str(args[0]).startswith(out):
        count += 1
        if count == int(point):
            if action == "kill":
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
            signal.raise_signal(signal.SIGINT)

sys.addaudithook(hook)
code = run(arguments)
print(count)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archives")
    write_synthetic(out, SyntheticSpec(layout="ilsvrc2012", classes=3, images_per_class=5, scale=0.1))
    write_synthetic(out, SyntheticSpec(layout="tiny-imagenet", classes=3, images_per_class=5))
    return out


def child(out: Path, action: str, point: int, command: list[str], workers: int = 1) -> subprocess.CompletedProcess[str]:
    """Run a command that is killed or interrupted before its ``point``-th operation on a file below ``out``."""
    arguments = [str(out), action, str(point), "prep", *command, "--out", str(out), "--workers", str(workers)]
    return subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, timeout=120)


def tree(root: Path) -> dict[str, bytes]:
    """{path: bytes}; of a folder, nothing."""
    return {p.relative_to(root).as_posix(): p.read_bytes() if p.is_file() else b"" for p in root.rglob("*")}


def finished(root: Path) -> dict[str, tuple[int, int]]:
    """(inode, time of writing) of every image under its final name."""
    found = [path for split in ("train", "val", "test") for path in (root / split).rglob("*.JPEG")]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def commands(archives: Path) -> dict[str, list[str]]:
    names = [str(archives / name) for name in (TRAIN, VAL)]
    return {
        "archives": ["imagenet", *names],
        "md5": ["imagenet", *names, "--checksum", "md5"],
        "tiny": ["tiny-imagenet", str(archives / "tiny-imagenet-200.zip")],
    }


@pytest.mark.parametrize("what", ["archives", "tiny"])
def test_killed_at_any_point_it_goes_on_to_the_same_bytes(archives: Path, tmp_path: Path, what: str) -> None:
    """Eleven kills spread over the whole run, the last operations included; what was finished is not written again."""
    command = commands(archives)[what]
    whole = tmp_path / "whole"
    done = child(whole, "kill", -1, command)
    assert done.returncode == 0, done.stderr
    operations = int(done.stdout.split()[-1])
    for point in sorted({*range(2, operations, operations // 7), *range(operations - 3, operations + 1)}):
        out = tmp_path / f"killed-{point}"
        assert child(out, "kill", point, command).returncode not in (0, 1, 2, 130)
        before = finished(out)

        again = child(out, "kill", -1, command, workers=2)

        assert again.returncode == 0, again.stderr
        assert tree(out) == tree(whole), f"killed at operation {point} of {operations}"
        assert {path: finished(out)[path] for path in before} == before


def test_killed_again_and_again_it_still_arrives(archives: Path, tmp_path: Path) -> None:
    """Every run is killed after 45 operations; each keeps what it finished, and compares it with one a file."""
    command, whole, out = commands(archives)["md5"], tmp_path / "whole", tmp_path / "out"
    assert child(whole, "kill", -1, command).returncode == 0
    codes: list[int] = []
    while not codes or codes[-1] != 0:
        assert len(codes) < 20
        codes.append(child(out, "kill", 45, command).returncode)

    assert len(codes) > 2 and tree(out) == tree(whole) and verify(out).ok


def test_ctrl_c_leaves_with_130_and_keeps_what_is_finished(archives: Path, tmp_path: Path) -> None:
    """One sentence, no traceback, no manifest; the same command goes on."""
    command, out = commands(archives)["md5"], tmp_path / "out"

    done = child(out, "interrupt", 20, command)

    assert done.returncode == 130 and "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("feedline: interrupted; what was finished is kept")
    assert not (out / "manifest.json").exists() and finished(out)
    assert child(out, "interrupt", -1, command).returncode == 0 and verify(out).ok


def test_an_unfinished_root_belongs_to_its_sources(archives: Path, tmp_path: Path) -> None:
    """Another archive must not be mixed in; the same one may have moved."""
    out = tmp_path / "out"
    assert child(out, "kill", 20, commands(archives)["archives"]).returncode not in (0, 1, 2, 130)
    other = tmp_path / "other"
    write_synthetic(other, SyntheticSpec(layout="ilsvrc2012", classes=3, images_per_class=3, scale=0.1))

    with pytest.raises(OutputError, match="holds an unfinished prep imagenet of other sources or settings"):
        prepare_imagenet([other / TRAIN, other / VAL], out)
    with pytest.raises(OutputError, match="unfinished prep imagenet"):
        prepare_tiny_imagenet(archives / "tiny-imagenet-200.zip", out)
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in (TRAIN, VAL):
        (moved / name).write_bytes((archives / name).read_bytes())
    assert prepare_imagenet([moved / TRAIN, moved / VAL], out).splits["train"].images == 15


def test_what_changed_in_a_finished_unit_is_written_again(archives: Path, tmp_path: Path) -> None:
    """A class folder that lost an image, or whose bytes are others, is our own; a file of somebody else is not."""
    out = tmp_path / "out"
    assert child(out, "kill", 25, commands(archives)["archives"]).returncode not in (0, 1, 2, 130)
    unfinished = tmp_path / "unfinished"
    victim = Path(min(finished(out)))
    data = victim.read_bytes()
    (victim.parent / "extra.JPEG").write_bytes(data)
    with pytest.raises(OutputError, match=r"extra\.JPEG is not in the source; move it elsewhere"):
        prepare_imagenet([archives / TRAIN, archives / VAL], out)
    (victim.parent / "extra.JPEG").unlink()
    shutil.copytree(out, unfinished)
    prepare_imagenet([archives / TRAIN, archives / VAL], out)

    for number, change in enumerate((data[:-1], bytes(len(data)), b"", None)):
        again = shutil.copytree(unfinished, tmp_path / f"again-{number}")
        changed = again / victim.relative_to(out)
        changed.unlink() if change is None else changed.write_bytes(change)

        prepare_imagenet([archives / TRAIN, archives / VAL], again)

        assert tree(again) == tree(out)


CUT = """
import os, sys
from feedline.prep.base import flush
from feedline.cli.main import run

out, at, each, *arguments = sys.argv[1:]
flush.BYTES = int(each)
EVENTS = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.rmtree"}
count, cutting, durable = 0, False, set()
flush_all, fsync = flush.flush_to_disk, os.fsync

def files():
    for place, _, names in os.walk(out):
        for name in names:
            yield os.path.join(place, name)

def state(status):
    return status.st_ino, status.st_mtime_ns, status.st_size

def flush_and_record(folder):
    written = {state(os.stat(path)) for path in files()}
    flush_all(folder)
    durable.update(written)

def fsync_and_record(descriptor):
    fsync(descriptor)
    durable.add(state(os.fstat(descriptor)))

def cut_power():
    "Every rename is on the disk already, and of the bytes only those that were flushed."
    for path in files():
        status = os.stat(path)
        if state(status) not in durable:
            with open(path, "rb+") as file:
                file.write(bytes(status.st_size))
    os._exit(99)

def hook(event, args):
    global count, cutting
    if not cutting and event in EVENTS and args and isinstance(args[0], (str, os.PathLike)):
        if str(args[0]).startswith(out):
            count += 1
            if count == int(at):
                cutting = True
                cut_power()

flush.flush_to_disk, os.fsync = flush_and_record, fsync_and_record
import feedline.prep.base.output as output
output.flush_to_disk = flush_and_record
sys.addaudithook(hook)
code = run(arguments)
print(count)
sys.exit(code)
"""


def cut(out: Path, point: int, each: int, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command on a disk that loses what was not flushed when the power fails before the ``point``-th operation.

    A flush comes after each folder, or, if ``each`` is large, once for all.
    """
    arguments = [str(out), str(point), str(each), *command, "--out", str(out), "--workers", "1"]
    return subprocess.run([sys.executable, "-c", CUT, *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("each", [0, 10**9], ids=["each folder", "all at once"])
@pytest.mark.parametrize("what", ["archives", "tiny", "shard"])
def test_after_a_power_cut_it_goes_on_to_the_same_bytes(archives: Path, tmp_path: Path, what: str, each: int) -> None:
    """What is under its final name is whole, and the same command gives what an uninterrupted run gives."""
    command, whole = ["prep", *commands(archives)["archives"]], tmp_path / "whole"
    if what == "shard":
        command = ["shard", str(archives / TRAIN), "--shard-count", "3"]
    elif what == "tiny":
        command = ["prep", *commands(archives)["tiny"]]
    done = cut(whole, -1, each, command)
    assert done.returncode == 0, done.stderr
    operations, expected = int(done.stdout.split()[-1]), tree(whole)
    for point in sorted({*range(6, operations, max(1, operations // 5)), *range(operations - 4, operations + 1)}):
        out = tmp_path / f"cut-{point}"
        assert cut(out, point, each, command).returncode == 99
        for name, data in tree(out).items():
            if data and not name.startswith(".") and not name.endswith(".partial"):
                assert data == expected[name], f"{name} at operation {point}"

        again = cut(out, -1, each, command)

        assert again.returncode == 0, again.stderr
        assert tree(out) == expected, f"cut at operation {point} of {operations}"


def test_zeros_in_a_finished_shard_or_index_are_written_again(archives: Path, tmp_path: Path) -> None:
    """The size is right, and the note of the shard has its sha256."""
    command, whole = ["shard", str(archives / TRAIN), "--shard-count", "3"], tmp_path / "whole"
    done = cut(whole, -1, 0, command)
    operations, expected = int(done.stdout.split()[-1]), tree(whole)
    for pattern in ("*.tar", "*.index", "*.idx"):
        out = tmp_path / pattern[2:]
        assert cut(out, operations - 8, 0, command).returncode == 99
        victim = min(out.glob(pattern))
        victim.write_bytes(bytes(victim.stat().st_size))

        assert cut(out, -1, 0, command).returncode == 0 and tree(out) == expected
