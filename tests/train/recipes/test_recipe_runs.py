"""Every recipe trains for some steps on the CPU, and its plan says beforehand what the run then does."""

import json
from dataclasses import replace
from pathlib import Path

import click.testing
import pytest
import torch
from torch.nn import functional

from feedline.benchmarks import capture
from feedline.benchmarks.bench.training_speed import Speed, SpeedRecord
from feedline.benchmarks.measuring.record import TRAINING_SPEED, running_code
from feedline.cli.main import cli
from feedline.cli.training.predicted import Prediction, predict
from feedline.prep import TrainingError, read_document, write_document
from feedline.train import TrainConfig, plan_run, read_recipe, recipe_config, recipe_names
from feedline.train.config import resolved
from feedline.train.data import open_data
from feedline.train.engine import build_learner
from feedline.train.models import model_of
from feedline.train.planning.memory import measure_memory
from feedline.train.ranks import Ranks
from feedline.train.schedule import learning_rate

from ..runs import make_root

# A ResNet-18 of 16 px in float32: what is left of a recipe is how it trains.
SMALL = {"model": "resnet18", "stem": "imagenet", "image_size": 16, "batch_size": 8, "amp": "none", "epochs": 1}
OPTIONS = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", value)]
HERE = ("--loader", "imagefolder", "--workers", "0", "--device", "cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 6 classes of 4 photographs for train, and as many for val."""
    return make_root(tmp_path_factory.mktemp("recipes"), 6, 4)


def feedline(*words: object) -> click.testing.Result:
    result = click.testing.CliRunner().invoke(cli, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def small(name: str, root: Path) -> TrainConfig:
    run = {"loader": "imagefolder", "workers": 0, "device": "cpu"}
    return resolved(recipe_config(read_recipe(name), root=root, out=Path("run"), **SMALL, **run))


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_trains_for_some_steps(name: str, root: Path) -> None:
    """With its own batches, labels, loss, optimiser and average: first and last weights change, and all are finite."""
    pytest.importorskip("timm")  # LAMB
    config = small(name, root)
    model = model_of(config, 6)
    before = {key: model.get_parameter(key).detach().clone() for key in ("conv1.weight", "fc.weight")}
    learner = build_learner(model, config, Ranks())
    with open_data(config, Ranks()) as data:
        for step, batch in enumerate(data.train.at(0), start=1):
            sums = learner.step(batch, learning_rate(config, step, 3))
            assert torch.isfinite(sums).all()
        assert step == 3
        (evaluated, *_) = learner.evaluate(data.val)

    assert torch.isfinite(evaluated).all()
    assert all(torch.isfinite(weight).all() for weight in learner.model.parameters())
    assert not any(torch.equal(model.get_parameter(key), weight) for key, weight in before.items())


def test_the_command_trains_as_planned_and_keeps_the_recipe(root: Path, tmp_path: Path) -> None:
    """A dry run leaves nothing behind, and says the steps, the rate and the size of the files of the run.

    The run records the recipe. A resumed one keeps it, with more epochs as one more setting that was replaced.
    """
    out = tmp_path / "run"
    saved = out / "checkpoints" / "last.pt"
    words = ["train", root, "--out", out, "--recipe", "tiny-64-cutmix", *OPTIONS, *HERE]
    dry = feedline(*words, "--dry-run", "--json")
    plan = json.loads(dry.stdout)
    assert not out.exists()
    assert "nothing was trained; leave out --dry-run to train" in dry.stderr
    assert "make one: feedline bench" in dry.stderr
    assert "a step takes 8 images instead of 100, so the learning rate is 0.016 instead of 0.2" in dry.stderr

    feedline(*words)
    record = json.loads((out / "metrics.jsonl").read_text())
    use = read_document(out / "config.json", TrainConfig).recipe
    assert plan["steps"] == plan["steps_per_epoch"] == record["step"] == 3
    assert (plan["classes"], plan["images"], plan["val_images"]) == (6, 24, 24)
    assert plan["rates"][-1]["lr"] == pytest.approx(record["lr"])
    assert plan["disk"]["checkpoint"] == pytest.approx(saved.stat().st_size, rel=0.02)
    assert (use.name, use.sha256) == ("tiny-64-cutmix", read_recipe("tiny-64-cutmix").sha256)
    assert use.replaced == ("batch_size", "epochs", "eval_resize", "image_size", "stem")

    feedline("train", "--resume", saved, "--epochs", 2, "--lr", 0.01)
    after = read_document(out / "config.json", TrainConfig)
    assert after.epochs == 2
    assert after.recipe == replace(use, replaced=tuple(sorted({*use.replaced, "lr"})))


def test_a_resumed_run_takes_no_other_recipe(root: Path) -> None:
    words = ["train", "--resume", str(root / "manifest.json"), "--recipe", "tiny-64-plain"]
    result = click.testing.CliRunner().invoke(cli, words)

    assert result.exit_code == 2
    assert "a resumed run keeps its recipe; leave out --recipe" in result.output


def test_a_plan_has_the_sizes_and_rates_of_a_run(root: Path) -> None:
    """Epochs 1 to 3 of 4 have the smaller size, by shares of the run; the peak lies at the end of the warm-up."""
    plan = plan_run(replace(small("ffcv-rn18-16", root), epochs=4, size_ramp=(0.5, 0.75)))
    rates = {rate.place: rate for rate in plan.rates}

    assert [(span.first_epoch, span.last_epoch, span.image_size) for span in plan.sizes] == [(1, 3, 13), (4, 4, 16)]
    assert (plan.steps, plan.batch, plan.part) == (12, 8, 8)
    assert [rate.step for rate in plan.rates] == sorted(rate.step for rate in plan.rates)
    assert rates["peak"].lr == max(learning_rate(plan.config, step, 12) for step in range(12))
    assert (rates["first"].step, rates["last"].step, rates["last"].epoch) == (1, 12, 4)


def speed(**changes: object) -> Speed:
    row = {"device": "cpu", "ranks": 1, "loader": "threaded", "workers": 2, "images_per_second": 50.0, "data_wait": 0.0}
    return Speed(**{**row, **changes})


def test_a_bench_record_of_this_machine_predicts_the_time(root: Path, tmp_path: Path) -> None:
    """With the fastest loader that is no ceiling; a record of another model predicts nothing."""
    words = ["train", root, "--recipe", "tiny-64-plain", *OPTIONS, "--epochs", "100", "--dry-run"]
    measured = TrainConfig(root=root, out=tmp_path, image_size=16, stem="imagenet", device="cpu")
    record = SpeedRecord(
        date="2026-11-26T00:00:00+00:00",
        code=running_code(),
        environment=capture(),
        config=measured,
        steps=30,
        speeds=(
            speed(),
            speed(loader="imagefolder", images_per_second=40.0),
            speed(loader="cached", images_per_second=90.0),
        ),
    )

    write_document(tmp_path / TRAINING_SPEED, record)
    predicted = json.loads(feedline(*words, "--records", tmp_path, "--json").stdout)["predicted"]
    assert (predicted["loader"], predicted["seconds"]) == ("threaded", 24 * 100 / 50)
    write_document(tmp_path / TRAINING_SPEED, replace(record, config=replace(measured, model="resnet34")))
    predicted = json.loads(feedline(*words, "--records", tmp_path, "--json").stdout)["predicted"]
    assert predicted["seconds"] is None


def test_a_prediction_names_what_the_record_lacks(root: Path, tmp_path: Path) -> None:
    """The stem that the record's auto meant counts, and so do settings that change the speed much."""
    config = TrainConfig(
        root=root, out=tmp_path / "run", image_size=16, batch_size=4, device="cpu", loader="imagefolder", stem="small"
    )
    measured = replace(config, stem="auto", image_size=64, out=tmp_path)
    record = SpeedRecord(
        date="2026-11-26T00:00:00+00:00",
        code=running_code(),
        environment=capture(),
        config=measured,
        steps=30,
        speeds=(speed(loader="imagefolder"),),
    )
    write_document(tmp_path / TRAINING_SPEED, record)

    def predicted(**changes: object) -> Prediction:
        return predict(plan_run(replace(config, **changes)), [tmp_path])

    assert predicted().seconds is not None
    assert predicted().sentence.endswith("with batches of 4 of 64 px")
    assert predicted(mixup=0.2, ema=0.9, drop_path=0.0).sentence.endswith("of 64 px, without ema 0.9, mixup 0.2")
    assert predicted(stem="imagenet").seconds is None
    assert predicted(compile=True).sentence.endswith("feedline bench --train measures none with compile True")


def test_the_advised_measurement_is_a_whole_command(root: Path, tmp_path: Path) -> None:
    """As many ranks, the largest images and the images that are computed at once; a path with a space is quoted."""
    spaced = tmp_path / "my data"
    spaced.symlink_to(root)
    config = TrainConfig(
        root=spaced, out=tmp_path / "run", image_size=32, size_from=16, batch_size=8, accumulate=2, device="cpu"
    )
    found = predict(plan_run(config, ranks=2), [])

    command = (
        f"feedline bench '{spaced}' --train --model resnet18 --stem small --image-size 32 --batch-size 4 --ranks 2"
    )
    assert found.sentence.endswith(f"make one: {command} --out bench")
    elsewhere = predict(plan_run(config), [tmp_path / "my records"])
    assert elsewhere.sentence.endswith(f"--batch-size 4 --out '{tmp_path / 'my records'}'")


def test_a_recipe_without_stochastic_depth_takes_models_without_it(root: Path) -> None:
    """rsb-a3 says drop_path 0, which every model has; another rate is refused with the option that drops it."""
    words = ["train", root, "--recipe", "rsb-a3", *OPTIONS, "--model", "squeezenet1_1", "--image-size", "32"]
    assert "squeezenet1_1" in feedline(*words, "--dry-run").stderr
    with pytest.raises(TrainingError, match="squeezenet1_1 has no stochastic depth; use --drop-path 0"):
        feedline(*words, "--drop-path", "0.1", "--dry-run")


@pytest.mark.parametrize("amp", ["none", "bf16"])
def test_the_estimate_of_activations_is_what_autograd_keeps(amp: str, root: Path) -> None:
    """Without contents, the hook for saved tensors sees the storages that a real forward pass keeps."""
    config = resolved(
        TrainConfig(root=root, out=Path("run"), image_size=32, stem="imagenet", batch_size=4, device="cpu", amp=amp)
    )
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    model = model_of(config, 6).train()
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp == "bf16"):
        loss = functional.cross_entropy(model(torch.rand(4, 3, 32, 32)), torch.zeros(4, dtype=torch.int64))
    found = measure_memory(model, config, image_size=32, ranks=1)

    assert loss.isfinite()
    assert found.activations == pytest.approx(sum(kept.values()), rel=0.01)
    assert found.parameters == sum(weight.numel() for weight in model.parameters())


def test_memory_counts_ranks_averages_and_optimisers(root: Path) -> None:
    """SGD keeps one number for each weight, AdamW two; ranks average gradients in buffers of their own."""
    config = resolved(TrainConfig(root=root, out=Path("run"), image_size=32, batch_size=8, device="cpu", ema=0.9))
    plan = plan_run(config, ranks=2)
    adam = measure_memory(model_of(config, 6), replace(config, optimiser="adamw"), image_size=32, ranks=1)

    assert plan.memory.optimiser * 2 == plan.memory.gradients == adam.optimiser
    assert plan.memory.average == plan.memory.weights > plan.memory.optimiser
    assert (plan.batch, plan.steps_per_epoch) == (16, 1)
