"""Checkpoints: runs continue bit for bit, and a file that is hostile, damaged or foreign ends in a sentence."""

import io
import json
import signal
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given, settings, strategies as st

from feedline.prep import (
    TrainingError,
)
from feedline.prep.synthetic import SyntheticSpec, write_synthetic
from feedline.prep.tiny_imagenet import prepare_tiny_imagenet
from feedline.train import TrainConfig, train
from feedline.train.checkpoint import About, Checkpoint, read_checkpoint
from feedline.train.history import Running

CLASSES, PER_CLASS = 6, 8


SMALL = {
    "loader": "imagefolder",
    "workers": 0,
    "epochs": 2,
    "batch_size": 16,
    "image_size": 32,
    "stem": "imagenet",
    "device": "cpu",
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute on one thread: on a busy machine, two that wait for each other take ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_root(where: Path, classes: int, per_class: int) -> Path:
    spec = SyntheticSpec(layout="tiny-imagenet", classes=classes, images_per_class=per_class)
    (archive,) = write_synthetic(where / "archives", spec)
    prepare_tiny_imagenet(archive, where / "data")
    return where / "data"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 6 classes of 8 photographs of 64 px for train, and as many for val."""
    return make_root(tmp_path_factory.mktemp("root"), CLASSES, PER_CLASS)


@pytest.fixture
def config(root: Path, tmp_path: Path) -> TrainConfig:
    """Return two epochs of three steps, small enough to take a second."""
    return TrainConfig(root=root, out=tmp_path / "run", **SMALL)


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Return the settings of a finished run; read its files, do not change them."""
    out = tmp_path_factory.mktemp("finished") / "run"
    config = TrainConfig(root=root, out=out, **SMALL)
    train(config)
    return config


def last(config: TrainConfig) -> Path:
    return config.out / "checkpoints" / "last.pt"


def weights(config: TrainConfig) -> dict[str, torch.Tensor]:
    return torch.load(last(config), weights_only=True)["model"]


def records(config: TrainConfig) -> list[dict]:
    """Return metrics.jsonl without what the clock decides."""
    lines = (config.out / "metrics.jsonl").read_text().splitlines()
    timed = {"seconds", "data_wait", "images_per_second"}
    return [{key: value for key, value in json.loads(line).items() if key not in timed} for line in lines]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "place",
    [
        ("train epoch 1/2", 2),
        ("train epoch 2/2", 1),
        ("train epoch 2/2", 3),
        ("val epoch 1/2", 1),
        ("val epoch 2/2", 3),
    ],
)
def test_an_interrupted_run_resumes_to_the_same_weights(
    place: tuple[str, int], finished: TrainConfig, config: TrainConfig
) -> None:
    """Ctrl-C anywhere in a run loses nothing: the resumed run ends as the uninterrupted one."""

    def interrupt(step: str, done: int, total: int) -> None:
        if (step, done) == place:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(config, interrupt)
    seen: list[tuple[str, int]] = []
    train(replace(config, resume=last(config)), lambda step, done, total: seen.append((step, done)))
    assert same(weights(config), weights(finished))
    assert records(config) == records(finished)
    assert not place[0].startswith("train") or place not in seen  # no step was taken twice


def test_an_interrupt_in_a_step_waits_for_its_end(finished: TrainConfig, config: TrainConfig) -> None:
    """Ctrl-C half way through the model leaves a checkpoint of whole steps only."""
    calls = 0

    def interrupt(module: torch.nn.Module, inputs: object, output: object) -> None:
        nonlocal calls
        calls += module.training and isinstance(module, torchvision.models.resnet.BasicBlock)
        if calls == 12:  # of 8 blocks a step
            signal.raise_signal(signal.SIGINT)
            calls += 1

    with torch.nn.modules.module.register_module_forward_hook(interrupt), pytest.raises(KeyboardInterrupt):
        train(config)
    assert read_checkpoint(last(config)).about.running.batches == 2
    train(replace(config, resume=last(config)))
    assert same(weights(config), weights(finished))


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.target,))


def hostile(kind: str, good: bytes, target: Path) -> bytes:
    """Return what lies in the place of a checkpoint."""
    file = io.BytesIO()
    if kind == "code":
        torch.save({"about": Bomb(target)}, file)
    elif kind == "foreign":
        torch.save({"state_dict": {"weight": torch.zeros(3)}}, file)
    elif kind == "swelling":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(10_000_000))
    else:
        middle = len(good) // 2
        return {
            "empty": b"",
            "text": b"not a checkpoint\n" * 100,
            "truncated": good[:middle],
            "flipped": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        }[kind]
    return file.getvalue()


@pytest.mark.parametrize("kind", ["code", "foreign", "swelling", "empty", "text", "truncated", "flipped"])
def test_a_hostile_checkpoint_ends_in_one_sentence(kind: str, finished: TrainConfig, config: TrainConfig) -> None:
    """Whatever lies in its place, the error names the file, no code of it runs, and nothing is written."""
    path = last(config)
    path.parent.mkdir(parents=True)
    target = config.out / "executed"
    path.write_bytes(hostile(kind, last(finished).read_bytes(), target))
    with pytest.raises(TrainingError, match=r"last\.pt") as error:
        train(replace(config, resume=path))
    assert "\n" not in str(error.value)
    assert [found.name for found in config.out.rglob("*") if found.is_file()] == ["last.pt"]


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_checkpoint_is_refused_or_reads_as_before(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any one byte changed, or any tail lost, is noticed unless it changes nothing that is read."""
    about = About(
        config=TrainConfig(root=Path("data"), out=Path("run"), stem="imagenet", device="cpu"),
        classes=("n01440764",),
        epoch_steps=1,
        running=Running(),
        history=(),
    )
    tensors = {"weight": torch.arange(4.0)}
    good = Checkpoint(
        about=about, model=tensors, optimiser={}, schedule={}, loader={"batch": 3}, scaler={}, ema=None, rng={}
    )
    content = bytearray(good.to_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    path = tmp_path_factory.mktemp("damaged") / "last.pt"
    path.write_bytes(content)
    try:
        read = read_checkpoint(path)
    except TrainingError as error:
        assert "last.pt" in str(error)
    else:
        assert same(read.model, tensors)
        assert (read.about, read.loader) == (about, {"batch": 3})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resnet34"}, "with model resnet18, not resnet34"),
        ({"lr": 0.5}, r"with lr 0\.00625, not 0\.5"),
        ({"epochs": 3}, "with epochs 2, not 3"),
    ],
)
def test_resuming_with_other_settings_is_refused(finished: TrainConfig, change: dict, message: str) -> None:
    """A run goes on as it began or not at all: the error names the setting and both values."""
    path = last(finished)
    with pytest.raises(TrainingError, match=message):
        train(replace(finished, resume=path, **change))


@pytest.mark.parametrize(
    ("classes", "per_class", "message"),
    [(4, 12, "6 classes in 3 steps an epoch, and .* has 4 others in 3"), (6, 16, "has 6 in 6")],
)
def test_resuming_on_other_data_is_refused(
    classes: int, per_class: int, message: str, finished: TrainConfig, tmp_path: Path
) -> None:
    """Weights of one class list or data set are never continued on another."""
    other = make_root(tmp_path, classes, per_class)
    with pytest.raises(TrainingError, match=message):
        train(replace(finished, root=other, resume=last(finished)))


def test_weights_that_do_not_fit_are_refused(finished: TrainConfig, config: TrainConfig) -> None:
    """A checkpoint that claims one architecture and holds another is found out before anything is written."""
    good = read_checkpoint(last(finished))
    path = last(config)
    path.parent.mkdir(parents=True)
    path.write_bytes(replace(good, model={**good.model, "conv1.weight": torch.zeros(1)}).to_bytes())
    with pytest.raises(TrainingError, match=r"last\.pt does not hold the state of a resnet18"):
        train(replace(config, resume=path))


def test_a_finished_run_resumes_to_its_result(finished: TrainConfig) -> None:
    """Resuming what is done trains nothing and reports the same."""
    before = weights(finished)
    seen: list[str] = []
    result = train(replace(finished, resume=last(finished)), lambda step, done, total: seen.append(step))
    assert seen == []
    assert same(weights(finished), before)
    assert result.val is not None
    assert result.val.top1 == records(finished)[-1]["val"]["top1"]
