"""The lock of an output: a lock file that was removed and made again is another lock."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from feedline.prep import OutputError
from feedline.prep.base.lock import LOCK, claimed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not remove an open file")

TRY = """
import sys
from pathlib import Path
from feedline.prep import OutputError
from feedline.prep.base.lock import claimed
try:
    with claimed(Path(sys.argv[1]), "shard"):
        print("held")
except OutputError as error:
    print(error)
"""


def another_process(out: Path) -> str:
    """Claim the output in another process and return what it prints."""
    return subprocess.run([sys.executable, "-c", TRY, str(out)], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> "list[object]":
    """Functions to call, one at each attempt, between the opening of the lock file and the locking of it."""
    waiting: list[object] = []
    acquire = FileLock.acquire

    def acquire_late(self: FileLock, *arguments: object, **options: object) -> object:
        found = acquire(self, *arguments, **options)  # pyright: ignore
        if waiting:
            act = waiting.pop(0)
            act()  # pyright: ignore
        return found

    monkeypatch.setattr(FileLock, "acquire", acquire_late)
    return waiting


def replace_lock(out: Path) -> None:
    (out / LOCK).unlink()
    (out / LOCK).touch()


@pytest.mark.parametrize("change", ["removed", "made again"])
def test_the_lock_is_of_the_file_that_others_find(between: list[object], tmp_path: Path, change: str) -> None:
    """The process before removes its lock file at its end: whoever opened it before then has locked nothing."""
    out = tmp_path / "out"
    between.append((out / LOCK).unlink if change == "removed" else lambda: replace_lock(out))

    with claimed(out, "prep imagenet"):
        assert not between
        assert f"process {os.getpid()} on" in another_process(out)

    assert not out.exists() and another_process(out) == "held\n"


def test_the_file_that_was_made_again_may_be_locked_by_another(between: list[object], tmp_path: Path) -> None:
    """Then the other process writes, and this one ends without a trace."""
    out = tmp_path / "out"
    other = FileLock(out / LOCK, timeout=0)

    def another_begins() -> None:
        (out / LOCK).unlink()
        other.acquire()

    between.append(another_begins)

    with (
        pytest.raises(OutputError, match="is being written by another feedline; wait until it ends"),
        claimed(out, "x"),
    ):
        pytest.fail("both write")

    assert sorted(path.name for path in out.iterdir()) == [LOCK]
    assert "is being written by" in another_process(out)
    other.release()


def test_a_lock_that_is_always_replaced_is_given_up(between: list[object], tmp_path: Path) -> None:
    """There is no endless loop, and nothing is written without a lock."""
    out = tmp_path / "out"
    between.extend([lambda: replace_lock(out)] * 100)
    with pytest.raises(OutputError, match="is being written by another feedline"), claimed(out, "prep imagenet"):
        pytest.fail("not locked")


@pytest.mark.skipif(not Path("/proc/self/fdinfo").is_dir(), reason="Linux has such a place")
@pytest.mark.parametrize("place", ["/proc/feedline", "/proc/self/fdinfo", "/proc/self/fdinfo/run"])
def test_a_place_where_no_file_can_be_made_is_not_called_busy(place: str) -> None:
    """Whether the directory is there or not: nobody holds it, and waiting would not help."""
    problem = pytest.raises(OutputError, match=f"cannot write to {place}: .*; choose another --out")
    with problem, claimed(Path(place), "train"):
        pytest.fail("nothing can be written")
