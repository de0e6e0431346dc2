"""``feedline shard`` compiles the decoder of `threaded` in another process, and never waits for it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedline.cli import shard
from feedline.cli.main import run

Started = list[subprocess.Popen[str]]
SLOW = "import time; print('compiling', flush=True); time.sleep(600)"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    """The processes that are started in place of the one that compiles, each of which takes ten minutes."""
    found: Started = []
    popen = subprocess.Popen

    def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
        assert command[-2:] == ["feedline.loaders.pixels.ready", "--ahead"]
        found.append(popen([sys.executable, "-c", SLOW], **options))
        return found[-1]

    monkeypatch.setattr(shard.subprocess, "Popen", start)
    yield found
    for process in found:
        process.kill()
        process.wait()


def test_shards_do_not_wait_for_the_decoder(started: Started, folders: Path) -> None:
    assert run(["shard", str(folders)]) == 0
    assert [process.poll() for process in started] == [None]


def test_nothing_goes_on_if_the_shards_fail(started: Started, tmp_path: Path) -> None:
    assert run(["shard", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert [process.wait() != 0 for process in started] == [True]


def test_an_index_needs_no_decoder(started: Started, root: Path) -> None:
    assert run(["shard", "--index-only", str(root / "shards")]) == 0
    assert started == []
