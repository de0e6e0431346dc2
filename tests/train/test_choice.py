"""`--loader auto`: records of this machine and data first, else a trial; and the closing word on the input."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from feedline.benchmarks import Plan, bench, read_records, write_record
from feedline.cli.main import cli
from feedline.loaders import Loader, LoaderSpec, open_loader
from feedline.prep import TrainingError, read_document
from feedline.train import TrainConfig, choose, data, result, train
from feedline.train.choose import choose_loader
from feedline.train.ranks import Ranks


@pytest.fixture
def config(root: Path, tmp_path: Path) -> TrainConfig:
    """Return an epoch of a few steps whose loader is left open."""
    size = {"epochs": 1, "batch_size": 28, "image_size": 32, "stem": "imagenet"}
    return TrainConfig(root=root, out=tmp_path / "run", workers=0, device="cpu", **size)


class Slow:
    """A loader that takes its time for every batch."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[object]:
        for batch in self._loader:
            time.sleep(2)  # more than a busy machine needs for one batch of the other
            yield batch


@pytest.mark.parametrize("slow", ["imagefolder", "webdataset"])
def test_a_trial_finds_the_faster_loader(slow: str, config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every loader that can read the root is tried, the fastest trains, and the sentence says why."""

    def open_slowly(name: str, spec: LoaderSpec) -> object:
        return Slow(open_loader(name, spec)) if name == slow else open_loader(name, spec)

    monkeypatch.setattr(choose, "TRIAL_SECONDS", 0.2)
    monkeypatch.setattr(choose, "open_loader", open_slowly)
    monkeypatch.setattr(data, "readable_loaders", lambda root: ["imagefolder", "webdataset", "cached"])
    told: list[str] = []
    trained = train(config, notice=told.append)
    other = {"imagefolder": "webdataset", "webdataset": "imagefolder"}[slow]
    assert (trained.loader, trained.workers) == (other, 0)
    assert len(told) == 1
    assert f"loader: {other} with 0 workers, the fastest in a trial" in told[0]
    assert slow in told[0]
    assert read_document(config.out / "config.json", TrainConfig).loader == other


def test_a_loader_that_cannot_read_the_data_is_passed_over(config: TrainConfig, tmp_path: Path) -> None:
    """Damaged shards beside whole class folders: the trial says so and trains; both damaged: a sentence."""
    damaged = tmp_path / "damaged"
    shutil.copytree(config.root, damaged)
    for shard in (damaged / "shards").glob("*train*.tar"):
        shard.write_bytes(bytes(1000))
    chosen = choose_loader(replace(config, root=damaged), Ranks(), lambda step, done, total: None)
    assert chosen.loader != "webdataset"
    assert "webdataset failed" in chosen.reason
    for image in (damaged / "train").rglob("*.JPEG"):
        image.write_bytes(b"no image")
    with pytest.raises(TrainingError, match=r"no loader can read a batch of .* --loader imagefolder"):
        choose_loader(replace(config, root=damaged), Ranks(), lambda step, done, total: None)


def test_nothing_is_tried_where_there_is_no_choice(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named loader, a run that is resumed, and a root that only one loader can read need no trial."""
    seen: list[str] = []

    def look(step: str, done: int, total: int) -> None:
        seen.append(step)

    named = choose_loader(replace(config, loader="webdataset"), Ranks(), look)
    train(replace(config, loader="webdataset"))
    again = choose_loader(replace(config, resume=config.out / "checkpoints" / "last.pt"), Ranks(), look)
    monkeypatch.setattr(data, "readable_loaders", lambda root: ["imagefolder", "cached"])
    alone = choose_loader(config, Ranks(), look)
    assert (named.loader, named.reason) == ("webdataset", "as requested")
    assert (again.loader, again.reason) == ("webdataset", "as in the resumed run")
    assert (alone.loader, alone.reason) == ("imagefolder", f"the only loader that can read {config.root}")
    assert seen == []


@pytest.mark.slow
def test_records_of_this_machine_and_data_decide(config: TrainConfig, tmp_path: Path) -> None:
    """`feedline bench` into ROOT/bench, then `feedline train ROOT`: the measured loader and workers are taken."""
    place = tmp_path / "bench"
    plan = Plan(root=config.root, loaders=("webdataset",), workers=(1,), image_size=32, seconds=0.2, repeats=1)
    bench(plan, place)
    words = [str(config.root), "--out", str(config.out), "--epochs", "1", "--batch-size", "28", "--image-size", "32"]
    words += ["--stem", "imagenet", "--device", "cpu", "--json", "--records", str(place)]
    done = CliRunner().invoke(cli, ["train", *words], catch_exceptions=False)
    printed = json.loads(done.stdout)
    assert (printed["loader"], printed["workers"]) == ("webdataset", 1)
    assert f"bench records in {place}: webdataset with 1 worker reaches" in done.stderr

    (record,) = read_records([place])
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    machine = replace(record.environment.machine, cpus=4096)
    write_record(foreign, replace(record, environment=replace(record.environment, machine=machine)))
    words[2] = str(tmp_path / "other")
    words[-1] = str(foreign)
    done = CliRunner().invoke(cli, ["train", *words, "--workers", "0"], catch_exceptions=False)
    assert f"no record of this machine, data set and image size is in {foreign}" in done.stderr
    assert "the fastest in a trial" in done.stderr


@pytest.mark.parametrize(
    ("workers", "wait", "expected"),
    [
        (2, 0.01, "the input kept up: the model waited 1.0% of the time"),
        (0, 0.5, "would train 200 images/s instead of 100; use --workers"),
        (2, 0.5, "feedline bench"),
    ],
)
def test_the_closing_sentence_says_what_to_change(
    workers: int, wait: float, expected: str, config: TrainConfig
) -> None:
    """Above a twentieth of the time the input was the bottleneck: what it costs, and the next command."""
    sentence = result.input_verdict(replace(config, loader="imagefolder", workers=workers), 100.0, wait)
    assert expected in sentence
    assert "\n" not in sentence
