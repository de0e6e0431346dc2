"""Several ranks train as one process would, stop together, and name the one that dies. On CPU, over gloo."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from feedline.prep import read_manifest, write_document
from feedline.train import EvaluateConfig, evaluate
from feedline.train.checkpoint import read_checkpoint

from ..processes import finished, started
from .runs import wait_for

pytestmark = pytest.mark.slow  # each test starts several processes that import torch

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
SETTINGS = ["--batch-size", "10", "--image-size", "32", "--stem", "imagenet", "--device", "cpu"]

# Half a batch for each rank, then the gradients as rank 0 has them.
GRADIENTS = """
import sys
from pathlib import Path
import torch
from torchvision.models import resnet18
from torchvision.ops import FrozenBatchNorm2d
from feedline.loaders import Batch
from feedline.train import TrainConfig
from feedline.train.config import resolved
from feedline.train.engine import build_learner
from feedline.train.ranks import joined_ranks

def gradients(ranks):
    torch.manual_seed(0)
    model = resnet18(num_classes=5, norm_layer=FrozenBatchNorm2d)
    images = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 5, (16,))
    mine = slice(ranks.rank, None, ranks.size)
    batch = Batch(images[mine].contiguous(memory_format=torch.channels_last), labels[mine], torch.arange(16)[mine])
    config = resolved(TrainConfig(root=Path(), out=Path(), device="cpu", accumulate=int(sys.argv[2])))
    learner = build_learner(model, config, ranks)
    sums = learner.backward(batch)
    total = ranks.total(sums.tolist())
    if ranks.rank == 0:
        gradients = {name: weight.grad for name, weight in model.named_parameters()}
        torch.save({"total": total, "gradients": gradients}, sys.argv[1])

with joined_ranks("cpu") as ranks:
    gradients(ranks)
for name in Path("/proc/self/task").glob("*/comm"):  # a thread of gloo's aborts a Python that shuts down
    assert "gloo" not in name.read_text()
"""


def free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def torchrun(*words: str) -> list[str]:
    return [*TORCHRUN, f"--master-port={free_port()}", *words]


@contextmanager
def two_ranks(
    *words: str, port: int | None = None, program: Sequence[str] = ("-m", "feedline.train")
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start two ranks without torchrun, which would end the other itself when one dies."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port or free_port()), "WORLD_SIZE": "2"}
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                started([sys.executable, *program, *words], {**shared, "RANK": rank, "LOCAL_RANK": rank})
            )
            for rank in ("0", "1")
        ]


def same_weights(a: Path, b: Path) -> bool:
    one, other = read_checkpoint(a).model, read_checkpoint(b).model
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.fixture(scope="module")
def odd_root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root with 19 images in val: shares of 10 and 9 make one batch of 10 on each rank, or 2 and 1."""
    odd = tmp_path_factory.mktemp("odd") / "data"
    shutil.copytree(root, odd, ignore=shutil.ignore_patterns("shards"))  # they have the whole val
    manifest = read_manifest(root)
    kept = [5, 5, 5, 4]
    for entry, count in zip(manifest.classes, kept, strict=True):
        for path in sorted((odd / "val" / entry.id).iterdir())[count:]:
            path.unlink()
    val = replace(manifest.splits["val"], images=19, per_class=tuple(kept))
    write_document(odd / "manifest.json", replace(manifest, splits={**manifest.splits, "val": val}))
    return odd


@pytest.mark.parametrize("accumulate", ["1", "4"])
def test_two_ranks_with_half_the_batch_have_the_gradients_of_one(accumulate: str, tmp_path: Path) -> None:
    """Batch statistics aside, which each rank takes of its own share: gradients and sums are those of the whole."""
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    alone = finished([sys.executable, str(script), str(tmp_path / "one.pt"), "1"])
    assert alone.returncode == 0, alone.stderr
    together = finished(torchrun(str(script), str(tmp_path / "two.pt"), accumulate))
    assert together.returncode == 0, together.stderr
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    assert two["total"] == pytest.approx(one["total"], rel=1e-6)
    assert two["total"][0] == 16
    assert any(gradient.abs().max() > 0.01 for gradient in one["gradients"].values())
    for name, gradient in one["gradients"].items():
        torch.testing.assert_close(two["gradients"][name], gradient, rtol=1e-4, atol=1e-6)


def test_a_run_of_two_ranks_reports_exact_metrics(odd_root: Path, tmp_path: Path) -> None:
    """One JSON object; val counts every image once although the shares and their batches are uneven."""
    out = tmp_path / "run"
    words = ["-m", "feedline.train", str(odd_root), "--out", str(out), "--epochs", "2", "--workers", "0", *SETTINGS]
    done = finished(torchrun(*words, "--batch-size", "9", "--ema", "0.5", "--json"))
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["ranks"], printed["model"]) == (2, "resnet18")
    assert done.stderr.count("the fastest in a trial") == 1
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [2 * 4 * 9] * 2  # 84 images: 4 whole batches of 9 a rank
    assert lines[-1]["val"]["top1"] * 19 == pytest.approx(round(lines[-1]["val"]["top1"] * 19))
    config = EvaluateConfig(root=odd_root, loader=printed["loader"], device="cpu")
    found = evaluate(out / "checkpoints" / "last.pt", config)
    assert found.images == 19
    assert found.top1 == pytest.approx(printed["val"]["top1"])
    assert found.loss == pytest.approx(printed["val"]["loss"], rel=1e-5)


def test_ranks_stop_at_the_same_step_and_resume_to_the_same_weights(root: Path, tmp_path: Path) -> None:
    """SIGTERM to torchrun: every rank ends after the same step, and two ranks go on bit for bit."""
    words = [
        "-m",
        "feedline.train",
        str(root),
        "--epochs",
        "12",
        "--loader",
        "imagefolder",
        "--workers",
        "0",
        *SETTINGS,
    ]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert finished(torchrun(*words, "--out", str(whole))).returncode == 0
    last = cut / "checkpoints" / "last.pt"
    with started(torchrun(*words, "--out", str(cut))) as process:
        wait_for(last, process)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert "the run is saved" in told
    about = read_checkpoint(last).about
    assert len(about.history) < 5
    resumed = finished(torchrun(*words, "--out", str(cut), "--resume", str(last)))
    assert resumed.returncode == 0, resumed.stderr
    assert same_weights(last, whole / "checkpoints" / "last.pt")


def test_a_run_of_two_ranks_goes_on_with_one(root: Path, tmp_path: Path) -> None:
    """Stopped in mid-epoch with two ranks: one process uses the rest of the epoch's images, each once."""
    out = tmp_path / "run"
    words = ["-m", "feedline.train", str(root), "--out", str(out), "--epochs", "1000", "--loader", "threaded"]
    last = out / "checkpoints" / "last.pt"
    words += ["--workers", "0", *SETTINGS, "--batch-size", "2", "--save-steps", "1"]
    with started(torchrun(*words)) as process:
        wait_for(last, process)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert f"continue with: torchrun --nproc-per-node=2 -m feedline.train --resume {last}" in told
    before = read_checkpoint(last).about
    epochs = len(before.history) + 1
    done = finished([sys.executable, "-m", "feedline.train", "--resume", str(last), "--epochs", str(epochs)])
    assert done.returncode == 0, done.stderr
    assert "a step now takes 2 images instead of 4" in done.stderr
    line = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    images = before.images
    assert images is not None
    assert images - 1 <= line["images"] <= images


# Rank 0 is killed once, behind the fourth step, which is saved.
KILLED = """
import os, signal, sys
import feedline.train
from feedline.cli.main import run
train, (attempt, rank) = feedline.train.train, (os.environ[name] for name in ("TORCHELASTIC_RESTART_COUNT", "RANK"))
def killed(config, progress, notice):
    def kill(step, done, total):
        progress(step, done, total)
        if (attempt, rank, done) == ("0", "0", 4):
            os.kill(os.getpid(), signal.SIGKILL)
    return train(config, kill, notice)
feedline.train.train = killed
sys.exit(run(["train", *sys.argv[1:]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun cannot start there")
def test_torchrun_starts_the_ranks_again_after_one_was_killed(root: Path, tmp_path: Path) -> None:
    """With --max-restarts, the ranks go on from the last checkpoint, with each image once. Rank 0 has written it."""
    script, out = tmp_path / "killed.py", tmp_path / "run"
    script.write_text(KILLED)
    words = [str(root), "--out", str(out), "--epochs", "1", "--loader", "threaded", "--workers", "0"]
    words += ["--save-steps", "4", *SETTINGS, "--batch-size", "4"]
    done = finished(torchrun("--max-restarts=1", str(script), *words))
    assert done.returncode == 0, done.stderr
    last = out / "checkpoints" / "last.pt"
    assert f"torchrun started the ranks again; they continue from {last}" in done.stderr
    (line,) = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    images = read_checkpoint(last).about.images
    assert images is not None
    assert (line["epoch"], line["images"]) == (1, images // 8 * 8)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups to press Ctrl-C in")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_signal_to_the_whole_group_saves_one_place_for_all(name: str, root: Path, tmp_path: Path) -> None:
    """Torchrun, the ranks and their loader workers get it at once: all ranks are interrupted, none fails.

    SIGKILL is sent to torchrun alone: its ranks do not go on without it.
    """
    out = tmp_path / "run"
    words = ["-m", "feedline.train", str(root), "--out", str(out), "--epochs", "1000", *SETTINGS]
    command = torchrun(*words, "--loader", "imagefolder", "--workers", "1")
    with started(command, start_new_session=True) as process:
        wait_for(out / "checkpoints" / "last.pt", process)
        (os.kill if name == "SIGKILL" else os.killpg)(process.pid, getattr(signal, name))
        _, told = process.communicate(timeout=60)
    assert told.count("feedline: interrupted") == 2
    assert told.count("the run is saved") == 1
    assert " ended (" not in told


@pytest.mark.parametrize("dead", [0, 1])
def test_a_rank_that_is_killed_ends_the_other_which_names_it(dead: int, root: Path, tmp_path: Path) -> None:
    """kill -9 of one: the other leaves within a minute, with one sentence that says which it was."""
    words = [str(root), "--out", str(tmp_path / "run"), "--epochs", "1000", "--loader", "imagefolder", *SETTINGS]
    with two_ranks(*words, "--workers", "0") as ranks:
        wait_for(tmp_path / "run" / "checkpoints" / "last.pt", ranks[0])
        ranks[dead].kill()
        _, told = ranks[1 - dead].communicate(timeout=60)
        assert ranks[1 - dead].returncode == 1
    assert f"rank {dead} died without an error message" in told
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    assert f"continue the run with: torchrun --nproc-per-node=2 -m feedline.train --resume {last}" in told
    assert "Traceback" not in told


def test_a_rank_that_cannot_read_its_data_ends_all(root: Path, tmp_path: Path) -> None:
    """A damaged image: the rank that meets it names the file, the other names the rank."""
    broken = tmp_path / "data"
    shutil.copytree(root / "train", broken / "train")
    manifest = read_manifest(root)
    write_document(broken / "manifest.json", replace(manifest, splits={"train": manifest.splits["train"]}))
    image = next(iter(sorted((broken / "train").rglob("*.JPEG"))))
    image.write_bytes(image.read_bytes()[:200])
    words = [str(broken), "--out", str(tmp_path / "run"), "--epochs", "3", "--loader", "imagefolder", *SETTINGS]
    with two_ranks(*words, "--workers", "0") as ranks:
        told = [process.communicate(timeout=120)[1] for process in ranks]
        assert [process.returncode for process in ranks] == [1, 1]
    assert sum(f"feedline: cannot decode {image}" in text for text in told) == 1
    assert sum(bool(re.search(r"rank [01] ended \(cannot decode", text)) for text in told) == 1


def test_a_port_in_use_is_named(root: Path, tmp_path: Path) -> None:
    """Somebody else listens where the ranks want to meet: the address and what to do."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with two_ranks(str(root), "--out", str(tmp_path / "run"), *SETTINGS, port=port) as ranks:
            _, told = ranks[0].communicate(timeout=60)
            assert ranks[0].returncode == 1
    assert f"the ranks cannot connect at 127.0.0.1:{port}" in told
    assert "--master-port" in told
    assert "Traceback" not in told


# Rank 1 may have less memory than its step needs.
SHORT_OF_MEMORY = """
import os, resource, sys, psutil
import feedline.train, feedline.cli.train, torchvision, torch.utils.tensorboard
if os.environ["RANK"] == "1":
    limit = psutil.Process().memory_info().vms + 400 * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from feedline.cli.main import run
sys.exit(run(["train", *sys.argv[1:]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_rank_without_memory_is_the_one_that_is_blamed(root: Path, tmp_path: Path) -> None:
    """It reports its own lack of memory, and the other rank names it with the reason."""
    words = [str(root), "--out", str(tmp_path / "run"), "--epochs", "3", "--loader", "imagefolder", *SETTINGS]
    words += ["--workers", "0", "--batch-size", "40", "--image-size", "224"]
    with two_ranks(*words, program=["-c", SHORT_OF_MEMORY]) as ranks:
        told = [process.communicate(timeout=120)[1] for process in ranks]
        assert [process.returncode for process in ranks] == [1, 1]
    assert "feedline: in training, memory ran out" in told[1]
    assert "rank 1 ended (in training, memory ran out" in told[0]
