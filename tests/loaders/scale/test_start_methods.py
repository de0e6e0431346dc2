"""Scripts without a main guard, where Python starts processes by spawn or forkserver: Windows, macOS, Python 3.14."""

import subprocess
import sys
from pathlib import Path

import pytest

from ..contract import require_loader

SCRIPT = """
import multiprocessing, sys
method, name, root, guard = sys.argv[1:]
multiprocessing.set_start_method(method, force=True)
from feedline.loaders import LoaderSpec, open_loader

def main():
    with open_loader(name, LoaderSpec(root=root, batch_size=20, image_size=32, workers=2)) as loader:
        for epoch in range(2):
            print(sum(len(labels) for _, labels in loader))

if guard == "without" or __name__ == "__main__":
    main()
"""
METHODS = ["spawn"] if sys.platform == "win32" else ["spawn", "forkserver"]


def run(method: str, name: str, root: Path, guard: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), method, name, str(root), guard]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["imagefolder", "webdataset"])
def test_worker_processes_start_with_a_guard(name: str, method: str, root: Path, tmp_path: Path) -> None:
    """They get what they need by pickling."""
    done = run(method, require_loader(name), root, "with", tmp_path)
    assert (done.returncode, done.stdout.split()) == (0, ["84", "84"]), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["threaded", "dali"])
def test_threads_need_no_guard(name: str, method: str, root: Path, tmp_path: Path) -> None:
    """They start no process."""
    done = run(method, require_loader(name), root, "without", tmp_path)
    assert (done.returncode, done.stdout.split()) == (0, ["84", "84"]), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["imagefolder", "webdataset"])
def test_a_missing_guard_is_named(name: str, method: str, root: Path, tmp_path: Path) -> None:
    """Instead of torch's message about workers that exited unexpectedly; nothing hangs."""
    done = run(method, require_loader(name), root, "without", tmp_path)
    assert done.returncode == 1
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith("feedline.prep.base.errors.LoaderError: the worker processes ended while they started")
    assert 'if __name__ == "__main__":' in done.stderr and "threaded" in done.stderr
