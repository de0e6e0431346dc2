"""How a command ends: by a full disk, a signal, a bug, a library that does not load."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import read_manifest

from .program import FEEDLINE, feedline, sentence


def small_disk(path: Path, size: str) -> bool:
    """Mount a RAM disk of ``size`` at ``path``; False where that is not allowed."""
    mount = shutil.which("mount")
    command = [mount or "", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    return mount is not None and subprocess.run(command, capture_output=True).returncode == 0


def test_a_full_disk_is_one_sentence_and_no_manifest(
    archives: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """prep and shard look for room before they begin, and survive a disk that fills up all the same."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not small_disk(disk, "300k"):
        pytest.skip("mounting a small RAM disk needs root")
    try:
        assert run(["prep", "imagenet", str(archives), "--out", str(disk / "data")]) == 1
        assert "GB free; free some space" in sentence(capsys)
        assert run(["shard", str(root), "--out", str(disk / "shards")]) == 1
        assert "GB free; free some space" in sentence(capsys)
        assert run(["prep", "synthetic", str(disk / "archives"), "--classes", "2", "--images-per-class", "8"]) == 1
        assert "No space left on device" in sentence(capsys)
        assert not [path for path in disk.rglob("*") if path.name == "manifest.json" or path.suffix == ".tar"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a child")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_with_130_and_keeps_what_is_finished(name: str, tmp_path: Path) -> None:
    """A clean sentence, no traceback, no manifest; the same command then finishes the work."""
    archives, data = tmp_path / "archives", tmp_path / "data"
    made = feedline("prep", "synthetic", archives, "--classes", 8, "--images-per-class", 40)
    assert made.returncode == 0, made.stderr
    command = [*FEEDLINE, "prep", "imagenet", str(archives), "--out", str(data), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (data / "train").is_dir() and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(getattr(signal, name))
    _, told = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the machine was faster than the signal")

    assert process.returncode == 130
    assert "interrupted; what was finished is kept" in told
    assert "Traceback" not in told
    assert not (data / "manifest.json").exists()
    finished = {path: path.stat().st_mtime_ns for path in (data / "train").iterdir()}
    assert feedline("prep", "imagenet", archives, "--out", data).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert read_manifest(data).splits["train"].images == 320


def test_a_bug_is_one_sentence_too_and_debug_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No user meets a traceback unless asked for; --debug gives it."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("feedline.prep.verify", broken)
    assert run(["verify", "."]) == 1
    told = sentence(capsys)
    assert "feedline has a bug (ZeroDivisionError: boom); show the traceback with: feedline --debug verify ." in told
    with pytest.raises(ZeroDivisionError):
        run(["--debug", "verify", "."])


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (BrokenPipeError(32, "Broken pipe"), 1, "a process that this command wrote to has ended (Broken pipe); show"),
        (EOFError(), 1, "feedline has a bug (EOFError); show the traceback with"),
        (KeyboardInterrupt(), 130, "interrupted; what was finished is kept"),
        (ValueError("GET s3://me:secret@host/data?token=secret is odd"), 1, "(ValueError: GET s3://host/data is odd)"),
        (
            UnicodeEncodeError("utf-8", 'a\nb "\udcff.jpg"\nc', 5, 6, "no"),
            1,
            "the name 'b \"\\udcff.jpg\"' holds bytes",
        ),
        (UnicodeEncodeError("ascii", "żółw", 0, 3, "no"), 1, "feedline has a bug (UnicodeEncodeError: 'ascii' codec"),
    ],
)
def test_what_ends_a_command_is_named_as_what_it_is(
    error: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """click ends without a word at the error of any pipe, and takes the end of any file for Ctrl-C."""

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("feedline.prep.verify", broken)
    assert run(["verify", "."]) == code
    told = sentence(capsys)
    assert words in told and "secret" not in told


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(5, "odd")])
def test_the_exit_code_does_not_depend_on_who_reads(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """``tee`` gets the Ctrl-C of the terminal too, and ends."""

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("feedline.prep.verify", broken)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        assert run(["verify", "."]) == (130 if isinstance(error, KeyboardInterrupt) else 1)


def test_a_library_that_does_not_load_is_one_sentence(tmp_path: Path) -> None:
    """On Windows a DLL may be missing, and then the errors of feedline's own cannot be imported either."""
    broken = "import sys; sys.modules['pydantic_core'] = None; from feedline.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", broken, "verify", str(tmp_path)], capture_output=True, text=True)

    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "a library that feedline needs cannot be loaded (import of pydantic_core" in done.stderr
