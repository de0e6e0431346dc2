"""Until the fused decoder is compiled, images are decoded in another way to the same pixels."""

import errno
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
import torch

import feedline
from feedline.loaders import open_loader
from feedline.loaders.pixels import ready
from feedline.loaders.support import samples

from ...contract import spec_of


@pytest.mark.parametrize("transform", ["train", "eval"])
@pytest.mark.parametrize(
    ("workers", "fields"), [(0, {}), (2, {}), (0, {"interpolation": "bicubic"}), (0, {"dct_scaling": True})]
)
def test_batches_are_the_same_before_and_after(
    transform: str, workers: int, fields: dict[str, object], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nothing depends on how long a compilation takes, nor on which images the decoder takes."""
    fields = {**fields, "image_size": 16} if fields else {}
    spec = spec_of(root, transform=transform, workers=workers, **fields)
    with closing(open_loader("threaded", spec)) as loader:
        loader.set_epoch(1)
        after = list(loader)
        monkeypatch.setattr(ready, "usable", lambda: False)
        loader.set_epoch(1)
        before = list(loader)
        assert len(before) == len(after) > 1
        for old, new in zip(before, after, strict=True):
            assert torch.equal(old.indexes, new.indexes) and torch.equal(old.images, new.images)


@pytest.mark.parametrize("transform", ["train", "eval"])
@pytest.mark.parametrize("workers", [0, 2])
def test_class_folders_have_the_same_pixels_before_and_after(
    transform: str, workers: int, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole images too go to the compiled decoder once it is there; files that it does not take go the other way."""
    empty = next(folders.glob("train/*/*.JPEG"))
    empty.write_bytes(b"")
    spec = spec_of(folders, transform=transform, workers=workers, on_error="skip")
    with closing(open_loader("threaded", spec)) as loader:
        loader.set_epoch(1)
        after = list(loader)
        monkeypatch.setattr(ready, "usable", lambda: False)
        loader.set_epoch(1)
        before = list(loader)
        assert [str(empty) in reason for reason in loader.skipped.values()] == [True]
        assert len(before) == len(after) > 1
        for old, new in zip(before, after, strict=True):
            assert torch.equal(old.indexes, new.indexes) and torch.equal(old.images, new.images)


def test_files_larger_than_the_room_to_read_into(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The buffer that a thread reads files into grows, and what it held before stays."""
    spec = spec_of(folders, shuffle=False)
    with closing(open_loader("threaded", spec)) as loader:
        wanted = list(loader)
    monkeypatch.setattr(samples, "READ_ROOM", 1000)
    with closing(open_loader("threaded", spec)) as loader:
        for old, new in zip(wanted, loader, strict=True):
            assert torch.equal(old.images, new.images)


def test_a_compiled_decoder_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a loader starts no process once it is loaded."""
    monkeypatch.setattr("subprocess.Popen", None)
    ready.begin()

    assert ready.usable()


@pytest.fixture
def new_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder where nothing is compiled yet, in a process that has not loaded the decoder."""
    monkeypatch.setattr(ready, "CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ready, "_marker", lambda: tmp_path / "cache" / "decoder.compiled")
    monkeypatch.setattr(ready, "_loaded", threading.Event())
    monkeypatch.setattr(ready, "_load", lambda: None)
    monkeypatch.setattr(ready, "_reported", False)
    return tmp_path / "cache"


def test_compiling_ahead_says_what_it_does_and_does_it_once(
    new_machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ready.compile_ahead()
    assert "compiling the decoder for this processor" in capsys.readouterr().out
    ready.compile_ahead()
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(sys.platform == "win32", reason="locks of two files of one process do not exclude each other there")
def test_one_of_several_processes_compiles(
    new_machine: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While one has the lock, a loader that opens starts no other, and says so once."""
    monkeypatch.setattr(ready, "_start", None)
    new_machine.mkdir()
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'ab'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(new_machine / "compiling.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with caplog.at_level(logging.WARNING, "feedline.loaders"):
            ready.begin()
            ready.begin()
        assert not ready.usable()
        other.communicate(b"")
    assert [record.getMessage()[:28] for record in caplog.records] == ["another process is compiling"]


def test_a_cache_that_cannot_be_written_is_reported_once(root: Path, tmp_path: Path) -> None:
    """Nothing is compiled, which each process would do in vain, and the batches come."""
    (tmp_path / "file").write_text("")
    code = f"""
import feedline
spec = feedline.LoaderSpec(root={str(root)!r}, batch_size=16, workers=2, image_size=32)
for _ in range(2):
    with feedline.open_loader("threaded", spec) as loader:
        print(sum(len(batch.labels) for batch in loader))
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "file" / "cache")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout.split() == ["84", "84"], done.stderr
    assert done.stderr.count("set NUMBA_CACHE_DIR to a folder that can be written") == 1
    assert "cannot be written: Not a directory; the decoder is not compiled" in done.stderr


def test_a_limit_on_open_files_is_not_blamed_on_the_cache(
    new_machine: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with caplog.at_level(logging.WARNING, "feedline.loaders"):
        ready.begin()
    (said,) = [record.getMessage() for record in caplog.records]
    assert "has them open" in said and "the decoder is not compiled" in said and "NUMBA_CACHE_DIR" not in said


def test_a_second_installation_of_the_same_version_does_not_count_as_compiled(tmp_path: Path) -> None:
    """numba keeps what it compiled per place of the sources: a first batch would otherwise wait a minute for it."""
    top = Path(feedline.__file__).parent
    for part in ("prep", "loaders"):
        shutil.copytree(top / part, tmp_path / "feedline" / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(top / "__init__.py", tmp_path / "feedline")
    code = "from feedline.loaders.pixels import ready; print(ready.__file__, ready.CACHE, ready.usable(), sep='\\n')"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    file, cache, usable = done.stdout.splitlines()

    assert ready.usable()
    assert (Path(file).is_relative_to(tmp_path), cache, usable) == (True, ready.CACHE, "False")
