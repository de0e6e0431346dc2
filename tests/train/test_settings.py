"""The settings of published recipes in whole runs: they are used, resume, and repeat in an evaluation."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from feedline.loaders import LoaderSpec, Normalise, open_loader
from feedline.prep import TrainingError
from feedline.train import EvaluateConfig, TrainConfig, evaluate, train
from feedline.train.checkpoint import load_model, read_checkpoint
from feedline.train.config import resolved
from feedline.train.data import open_data
from feedline.train.ranks import Ranks
from feedline.train.schedule import image_size, learning_rate

from .runs import CLASSES, PER_CLASS, last, make_root, records, same, weights

EVERYTHING = {
    "epochs": 3,
    "size_from": 32,
    "image_size": 64,
    "size_ramp": (0.0, 1.0),
    "scale": (0.3, 1.0),
    "repeat": 2,
    "colour_jitter": 0.4,
    "augment": "rand-m7-mstd0.5-inc1",
    "erase": 0.3,
    "mixup": 0.2,
    "cutmix": 1.0,
    "loss": "bce",
    "bce_threshold": 0.2,
    "label_smoothing": 0.1,
    "drop_path": 0.1,
    "blurpool": True,
    "ema": 0.9,
    "ema_steps": 2,
    "ema_start": 0.3,
    "schedule": "linear",
    "lr_per": "epoch",
    "optimiser": "lamb",
    "eval_image_size": 40,
    "eval_resize": 48,
    "eval_flip": True,
    "bias_weight_decay": 1e-4,
    "batch_size": 12,
}
"""Every setting that changes what is computed; the teacher comes on top."""


def make_config(**settings: object) -> TrainConfig:
    return resolved(TrainConfig(root=Path("data"), out=Path("run"), device="cpu", **settings))


@pytest.fixture(scope="module")
def whole(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Return the settings of a finished run with everything; read its files, do not change them."""
    pytest.importorskip("timm.optim")
    where = tmp_path_factory.mktemp("whole")
    teacher = TrainConfig(root=tiny_root, out=where / "teacher", loader="threaded", workers=0, device="cpu", epochs=1)
    taught = train(replace(teacher, image_size=32, stem="imagenet", batch_size=24)).checkpoint
    config = TrainConfig(
        root=tiny_root,
        out=where / "run",
        loader="threaded",
        workers=0,
        device="cpu",
        stem="imagenet",
        teacher=taught,
        **EVERYTHING,
    )
    train(config)
    return config


def interrupt_at(place: tuple[str, int]) -> object:
    """Return a progress that ends the run after a step, as Ctrl-C does."""

    def interrupt(step: str, done: int, total: int) -> None:
        if (step, done) == place:
            raise KeyboardInterrupt

    return interrupt


@pytest.mark.slow
def test_a_resumed_run_with_everything_has_the_weights_of_one_that_never_stopped(
    whole: TrainConfig, tmp_path: Path
) -> None:
    """In the middle of an epoch of the larger images, and with threads instead of none."""
    config = replace(whole, out=tmp_path / "run", workers=2)
    with pytest.raises(KeyboardInterrupt):
        train(config, interrupt_at(("train epoch 3/3", 2)))  # type: ignore[arg-type]
    assert read_checkpoint(last(config)).about.running.batches == 2
    train(replace(config, resume=last(config), workers=1))
    assert same(weights(config), weights(whole))
    mine, theirs = read_checkpoint(last(config)).ema, read_checkpoint(last(whole)).ema
    assert mine is not None
    assert theirs is not None
    assert same(mine, theirs)
    assert records(config) == records(whole)


def test_evaluate_repeats_what_the_run_reported(whole: TrainConfig) -> None:
    """Size, short side and mirror images are those of the run, from the checkpoint alone; all can be replaced."""
    (*_, line) = records(whole)
    config = EvaluateConfig(root=whole.root, loader="threaded", device="cpu")
    found = evaluate(last(whole), config)
    assert (found.loss, found.top1) == pytest.approx((line["val"]["loss"], line["val"]["top1"]), rel=1e-5)
    for change in ({"flip": False}, {"resize_size": 40}, {"image_size": 64}, {"interpolation": "bicubic"}):
        assert evaluate(last(whole), replace(config, loader="imagefolder", **change)).loss != pytest.approx(found.loss)


def test_the_scores_are_those_computed_by_hand(whole: TrainConfig) -> None:
    """Resize of the short side to 48, a centre crop of 40, and the mean with the mirror image."""
    read = read_checkpoint(last(whole))
    model, normalise = load_model(last(whole), read).eval(), Normalise()
    spec = LoaderSpec.eval(whole.root, image_size=40, resize_size=48, batch_size=48)
    with torch.inference_mode(), open_loader("threaded", spec) as loader:
        (batch,) = loader
        floats = normalise(batch.images)
        scores = (model(floats) + model(floats.flip(3))) / 2
        loss = torch.nn.functional.cross_entropy(scores, batch.labels)
    assert float(loss) == pytest.approx(records(whole)[-1]["val"]["loss"], rel=1e-5)


@pytest.mark.slow
def test_every_size_is_compiled_once(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine sizes are more than torch compiles by itself; parts of two lengths need one more graph, not one for each."""
    models = pytest.importorskip("timm.models")

    @models.register_model
    def feedline_tiny(num_classes: int, **_: object) -> nn.Module:
        flat = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
        return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), *flat)

    original = torch.compile
    graphs, calls = [], []

    def compiled(network: object) -> object:
        return original(network, backend=backend)  # type: ignore[call-overload]

    def backend(graph: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(graph)
        return lambda *arguments: (calls.append(1), graph.forward(*arguments))[1]

    monkeypatch.setattr(torch, "compile", compiled)
    settings = {"model": "timm:feedline_tiny", "size_from": 32, "image_size": 320, "size_ramp": (0.0, 1.0)}
    config = replace(config, **settings, epochs=9, batch_size=24, accumulate=5, eval_image_size=32, compile=True)
    sizes = {image_size(config, epoch) for epoch in range(9)}
    assert len(sizes) == 9
    train(config)
    assert len(calls) == 9 * 2 * 5
    assert len(graphs) == len(sizes) + 1


def test_the_size_grows_and_each_sample_comes_once(tiny_root: Path) -> None:
    """Another size opens the loader again at the beginning of an epoch; order and samples stay those of one loader."""
    config = TrainConfig(root=tiny_root, out=Path("run"), device="cpu", loader="imagefolder", workers=0, batch_size=16)
    config = replace(config, epochs=4, size_from=32, image_size=96, size_ramp=(0.25, 0.75), augment="trivial")
    seen = {}
    with open_data(config, Ranks()) as data:
        for epoch in range(4):
            loader = data.train.at(epoch)
            loader.set_epoch(epoch)
            batches = list(loader)
            seen[epoch] = torch.cat([batch.indexes for batch in batches])
            sizes = {batch.images.shape[2:] for batch in batches}
            assert sizes == {(image_size(config, epoch),) * 2}
        assert data.train.skipped == 0
    assert [image_size(config, epoch) for epoch in range(4)] == [32, 32, 64, 96]
    assert all(sorted(indexes.tolist()) == list(range(CLASSES * PER_CLASS)) for indexes in seen.values())
    with open_data(replace(config, size_from=None, image_size=32), Ranks()) as data:
        data.train.loader.set_epoch(3)
        assert torch.equal(torch.cat([batch.indexes for batch in data.train.loader]), seen[3])


def test_augmentations_depend_on_the_batch_and_not_on_workers(tiny_root: Path) -> None:
    """The same images and labels with none, one and three threads, from the middle of an epoch too."""
    config = TrainConfig(root=tiny_root, out=Path("run"), device="cpu", loader="threaded", image_size=32, batch_size=8)
    config = replace(config, augment="rand-2-9", erase=0.5, mixup=0.2, cutmix=1.0, mix_mode="sample", colour_jitter=0.3)
    seen = []
    for workers in (0, 1, 3):
        with open_data(replace(config, workers=workers), Ranks()) as data:
            data.train.loader.set_epoch(1)
            seen.append([(batch.images, batch.labels) for batch in data.train.loader])
            state = {"epoch": 1, "samples": 16}
            data.train.loader.load_state_dict({**data.train.loader.state_dict(), **state})
            images, labels = next(iter(data.train.loader))
            assert torch.equal(images, seen[-1][2][0])
            assert torch.equal(labels, seen[-1][2][1])
    for other in seen[1:]:
        for (images, labels), (theirs, their_labels) in zip(other, seen[0], strict=True):
            assert torch.equal(images, theirs)
            assert torch.equal(labels, their_labels)
    assert len({images.numpy().tobytes() for images, _ in seen[0]}) == len(seen[0])


def test_rates_per_epoch_are_those_of_torchvision() -> None:
    """Its reference training: LinearLR from 0.01, then CosineAnnealingLR, stepped after each epoch."""
    epochs, warmup, per_epoch = 20, 5, 7
    config = make_config(epochs=epochs, lr=0.5, warmup=warmup / epochs, lr_per="epoch", lr_end=0.1)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimiser,
        [
            torch.optim.lr_scheduler.LinearLR(optimiser, start_factor=0.01, total_iters=warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=epochs - warmup, eta_min=0.05),
        ],
        milestones=[warmup],
    )
    for epoch in range(epochs):
        for step in range(per_epoch):
            mine = learning_rate(config, epoch * per_epoch + step, epochs * per_epoch)
            assert mine == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()


def test_rates_from_the_start_are_those_of_timm() -> None:
    """timm's cosine runs from the first epoch, and the warm-up replaces its beginning."""
    timm = pytest.importorskip("timm.scheduler")
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=5e-3)
    scheduler = timm.CosineLRScheduler(optimiser, t_initial=30, lr_min=1e-6, warmup_t=5, warmup_lr_init=1e-4)
    config = make_config(
        epochs=30, lr=5e-3, warmup=5 / 30, warmup_start=0.02, lr_end=2e-4, lr_per="epoch", schedule_after_warmup=False
    )
    for epoch in range(30):
        scheduler.step(epoch)
        assert learning_rate(config, epoch * 3, 90) == pytest.approx(optimiser.param_groups[0]["lr"])


def test_rates_and_sizes_are_those_of_ffcv() -> None:
    """A ramp to the peak and a straight line to zero, step by step; sizes in multiples of 32 between two epochs."""
    epochs, per_epoch, peak = 88, 5, 2
    config = make_config(
        epochs=epochs,
        lr=1.7,
        schedule="linear",
        warmup=peak / epochs,
        warmup_start=1e-4,
        size_from=160,
        image_size=192,
        size_ramp=(65 / epochs, 76 / epochs),
    )
    for step in range(epochs * per_epoch):
        expected = np.interp(step / per_epoch, [0, peak, epochs], [1e-4 * 1.7, 1.7, 0])
        assert learning_rate(config, step, epochs * per_epoch) == pytest.approx(expected)
    sizes = np.interp(range(epochs), [65, 76], [160, 192])
    assert [image_size(config, epoch) for epoch in range(epochs)] == [int(np.round(size / 32)) * 32 for size in sizes]


def test_a_share_of_epochs_is_whole_epochs() -> None:
    """5 of 600 epochs are not 4.999 of them, whatever the number of steps."""
    for epochs in (7, 49, 100, 300, 600):
        for count in range(1, 6):
            config = make_config(epochs=epochs, warmup=count / epochs, lr=1.0, schedule="constant")
            rates = [learning_rate(config, step, epochs * 13) for step in range(count * 13 + 1)]
            assert rates[-2] < 1.0
            assert math.isclose(rates[-1], 1.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mixup": -1.0}, "mixup must be from 0 to 1000000, got -1.0"),
        ({"cutmix": math.nan}, "cutmix must be from 0 to 1000000, got nan"),
        ({"mix_probability": 1.5}, "mix_probability must be a probability from 0 to 1, got 1.5"),
        ({"erase": -0.1}, "erase must be a probability from 0 to 1, got -0.1"),
        ({"augment": "auto"}, "unknown augment 'auto'; use none, trivial"),
        ({"drop_path": 1.0}, "drop_path must be at least 0 and less than 1, got 1.0"),
        ({"scale": (0.5, 0.1)}, "scale must be two numbers above 0 and at most 1, the smaller one first"),
        ({"loss": "mse"}, "loss must be one of ce, bce, got 'mse'"),
        ({"bce_threshold": 0.2}, "bce_threshold means nothing with loss 'ce'; use --loss bce"),
        ({"size_from": 300}, "size_from must be at most the image size 224, got 300"),
        ({"size_ramp": (0.9, 0.1)}, "size_ramp must be two shares of the run"),
        ({"eval_resize": 100}, "eval_resize 100 is smaller than the 224 px that are evaluated"),
        ({"distill_temperature": 0.0}, "distill_temperature must be a positive number, got 0.0"),
        ({"ema_steps": 0}, "ema_steps must be at least 1, got 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict, message: str) -> None:
    """Each with its name, its value and what is possible."""
    with pytest.raises(TrainingError, match=message.replace("(", r"\(")):
        make_config(**wrong)


def test_a_resume_keeps_the_recipe(whole: TrainConfig, tmp_path: Path) -> None:
    """Another augmentation is another run, and so is a run without its teacher; a teacher may have moved."""
    moved = tmp_path / "teacher.pt"
    assert whole.teacher is not None
    moved.write_bytes(whole.teacher.read_bytes())
    resumed = replace(whole, resume=last(whole))
    for change, value in (("cutmix", 0.5), ("teacher", None)):
        with pytest.raises(TrainingError, match=f"was trained with {change} "):
            train(replace(resumed, **{change: value}))
    assert train(replace(resumed, teacher=moved)).epochs == 3


def test_a_teacher_of_other_classes_is_refused(whole: TrainConfig, config: TrainConfig, tmp_path: Path) -> None:
    """Before the first step, with both numbers."""
    other = make_root(tmp_path, 3, 8)
    with pytest.raises(TrainingError, match="was trained on 6 classes, and the data set has 3 classes; use a teacher"):
        train(replace(config, root=other, teacher=whole.teacher))
    assert not (config.out / "checkpoints").exists()
