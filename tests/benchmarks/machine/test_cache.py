"""The page cache: real files are made cold and warm, and a state that cannot be confirmed is unknown."""

import mmap
import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from feedline.benchmarks.machine.cache import evict, files_read, resident_fraction, warm
from feedline.prep import DatasetError, MeasurementError

SHM = Path("/dev/shm")


def in_memory(path: Path) -> bool:
    """Return whether ``path`` is on a file system in memory."""
    mounts = [m for m in psutil.disk_partitions(all=True) if path.resolve().is_relative_to(m.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype in ("tmpfs", "ramfs")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return files that were just written: all are resident, and not yet on the disk."""
    if sys.platform != "linux" or in_memory(tmp_path):
        pytest.skip("needs Linux and a temporary directory on a disk")
    paths = [tmp_path / f"{size}.bin" for size in (0, 1, 5000, 300_000)]
    for path in paths:
        path.write_bytes(os.urandom(int(path.stem)))
    return paths


def test_files_just_written_are_resident(files: list[Path]) -> None:
    """The page cache holds written data until other data need the memory."""
    assert resident_fraction(files) == 1.0


def test_evicted_files_are_cold_even_when_they_were_not_on_the_disk_yet(files: list[Path]) -> None:
    """Dirty pages are flushed first; mincore then reports no resident page."""
    assert evict(files) == "cold"
    assert resident_fraction(files) == 0.0


def test_evicted_files_keep_their_content(files: list[Path]) -> None:
    """Eviction only drops copies in memory."""
    before = [path.read_bytes() for path in files]
    evict(files)

    assert [path.read_bytes() for path in files] == before


def test_warmed_files_are_resident(files: list[Path]) -> None:
    """The files are read from the disk and are in memory afterwards."""
    evict(files)

    assert warm(files) == "warm"
    assert resident_fraction(files) == 1.0


def test_warm_files_are_not_read_again(files: list[Path]) -> None:
    """Warming before every run costs a check, not a pass over the data."""
    steps: list[str] = []
    evict(files)
    for _ in range(2):
        warm(files, lambda step, done, total: steps.append(step))

    assert len(steps) == len(files)


def test_a_partly_read_file_is_partly_resident(files: list[Path]) -> None:
    """One page of 74 was read; read-ahead may add more, but not all of them."""
    evict(files)
    with files[-1].open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        file.read(1)

    assert 0 < (resident_fraction(files) or 0) < 0.5


def test_pages_that_a_process_has_mapped_stay_and_the_state_is_unknown(files: list[Path]) -> None:
    """The kernel does not drop them, and the state is not reported as cold."""
    with files[-1].open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
        assert mapping[:: mmap.PAGESIZE]
        assert evict(files) == "unknown"


@pytest.mark.skipif(not SHM.is_dir(), reason="needs /dev/shm")
def test_a_file_system_in_memory_is_never_called_cold() -> None:
    """There is no disk to read the file from again."""
    path = SHM / f"feedline-test-{os.getpid()}"
    try:
        path.write_bytes(bytes(100_000))
        assert evict([path]) == "unknown"
    finally:
        path.unlink()


def test_data_larger_than_the_free_memory_are_not_read(tmp_path: Path) -> None:
    """Reading one half would drop the other half; the state is unknown and nothing is read."""
    if sys.platform == "win32" or in_memory(tmp_path):
        pytest.skip("needs sparse files on a disk")
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(psutil.virtual_memory().total)

    assert warm([path], lambda *_: pytest.fail("read")) == "unknown"


@pytest.mark.parametrize("change", [evict, warm])
def test_a_missing_file_is_one_sentence(files: list[Path], tmp_path: Path, change: type) -> None:
    """The message has the file, the reason and the command that checks the data."""
    with pytest.raises(MeasurementError, match=r"gone\.bin: No such file.*feedline verify"):
        change([*files, tmp_path / "gone.bin"])


def test_no_files_have_no_state(tmp_path: Path) -> None:
    """An empty list of files is neither cold nor warm."""
    assert (resident_fraction([]), evict([]), warm([])) == (None, "unknown", "unknown")


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_a_pipe_among_the_images_is_not_opened(root: Path, tmp_path: Path) -> None:
    """Opening it would never return, and no timeout applies here."""
    data = tmp_path / "data"
    shutil.copytree(root, data)
    pipe = next((data / "train").glob("*/*"))
    pipe.unlink()
    os.mkfifo(pipe)

    with pytest.raises(DatasetError, match="83 images where the manifest says 84"):
        files_read(data, "train", ["imagefolder"])


@pytest.mark.parametrize(
    ("loaders", "kinds"),
    [
        (["imagefolder"], {".JPEG"}),
        (["webdataset"], {".tar"}),
        (["threaded"], {".tar"}),
        (["cached"], {".JPEG"}),
        (["imagefolder", "threaded"], {".JPEG", ".tar"}),
    ],
)
def test_the_files_are_those_that_the_loaders_read(root: Path, loaders: list[str], kinds: set[str]) -> None:
    """Some loaders read class folders and others read shards; a loader that reads both uses the shards."""
    files = files_read(root, "train", loaders)

    assert {path.suffix for path in files} == kinds
    assert all(path.is_file() for path in files)
    assert len([path for path in files if path.suffix == ".JPEG"]) in (0, 84)
