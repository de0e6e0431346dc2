"""A training whose process group is signalled, whose terminal closes, or whose memory runs out: the place is saved."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from feedline.benchmarks.faults.sessions import members
from feedline.prep import WorkerLost
from feedline.train import TrainConfig, train
from feedline.train.checkpoint import read_checkpoint

from ..processes import ENVIRONMENT, started
from .runs import last, same, wait_for, weights

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

SETTINGS = ["--epochs", "1000", "--batch-size", "10", "--image-size", "32", "--stem", "imagenet", "--device", "cpu"]

# What is imported counts too, so the limit is set behind it.
SHORT_OF_MEMORY = """
import resource, sys, psutil
import feedline.train, feedline.cli.train, torchvision, torch.utils.tensorboard
limit = psutil.Process().memory_info().vms + 400 * 10**6
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from feedline.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def test_sigterm_to_the_whole_group_saves_the_place(root: Path, tmp_path: Path) -> None:
    """As SLURM, timeout and systemd send it, twice: the workers do not end the run, and none is left."""
    out = tmp_path / "run"
    words = [
        "-m",
        "feedline.train",
        str(root),
        "--out",
        str(out),
        "--loader",
        "imagefolder",
        "--workers",
        "2",
        *SETTINGS,
    ]
    saved = out / "checkpoints" / "last.pt"
    with started([sys.executable, *words], start_new_session=True) as process:
        wait_for(saved, process)
        assert len(members(process.pid)) >= 3
        for _ in range(2):
            os.killpg(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert f"the run is saved; continue with: feedline train --resume {saved}" in said
        assert "feedline: interrupted" in said
        assert read_checkpoint(saved).about.history
        assert not members(process.pid)


def test_a_closed_terminal_saves_the_place(root: Path, tmp_path: Path) -> None:
    """The connection is lost: messages can go nowhere, and the run ends in order all the same."""
    import fcntl
    import pty
    import termios

    def begin() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup, where the tests run under it, ignores

    out = tmp_path / "run"
    words = [
        "-m",
        "feedline.train",
        str(root),
        "--out",
        str(out),
        "--loader",
        "webdataset",
        "--workers",
        "1",
        *SETTINGS,
    ]
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with started([sys.executable, *words], start_new_session=True, preexec_fn=begin, **streams) as process:
        os.close(theirs)
        saved = out / "checkpoints" / "last.pt"
        deadline = time.monotonic() + 60
        while not saved.is_file() and process.poll() is None and time.monotonic() < deadline:
            os.read(ours, 4096)
        before = saved.stat().st_mtime_ns
        os.close(ours)
        assert process.wait(timeout=60) == 130
        assert saved.stat().st_mtime_ns > before
        assert read_checkpoint(saved).about.history
        assert not members(process.pid)


def test_a_dead_worker_saves_the_place_and_the_run_continues(config: TrainConfig) -> None:
    """It dies while the model computes: the step is finished, the place saved, and the weights come out the same."""
    whole = replace(config, out=config.out.with_name("whole"))
    train(whole)

    def kill(step: str, done: int, total: int) -> None:
        if (step, done) == ("train epoch 2/2", 1):
            for worker in psutil.Process().children():
                worker.kill()

    with pytest.raises(WorkerLost, match=r"was killed by SIGKILL"):
        train(replace(config, workers=1), kill)
    assert read_checkpoint(last(config)).about.running.batches >= 1
    train(replace(config, resume=last(config)))
    assert same(weights(config), weights(whole))


def test_too_little_memory_is_one_sentence_and_the_place_is_saved(tiny_root: Path, tmp_path: Path) -> None:
    """By a limit on the process: what was needed, what there is, and the options that need less."""
    out = tmp_path / "run"
    words = ["train", str(tiny_root), "--out", str(out), "--loader", "imagefolder", "--workers", "0", *SETTINGS]
    command = [sys.executable, "-c", SHORT_OF_MEMORY, *words, "--batch-size", "48", "--image-size", "224"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 1
    said = done.stderr.rstrip().splitlines()[-1]
    assert said.startswith("feedline: in training, memory ran out")
    assert "(ulimit -v) and has used up to " in said
    assert "; raise that limit, or use a larger --accumulate or a smaller --batch-size, or fewer --workers" in said
    assert "the run is saved" in done.stderr
    assert read_checkpoint(out / "checkpoints" / "last.pt").about.running.batches == 0
