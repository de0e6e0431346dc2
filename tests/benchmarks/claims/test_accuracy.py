"""Do all loaders train alike: the verdict errs as rarely as it promises, and it is made from pairs of the same seed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from feedline.benchmarks import capture
from feedline.benchmarks.claims import accuracy
from feedline.benchmarks.claims.accuracy import AccuracyRecord, TrainedRun, agreement, compare, measure, ways_of
from feedline.benchmarks.measuring.record import running_code
from feedline.benchmarks.results.paired import MARGIN, POWER, Difference, difference, seeds_for, t_quantile
from feedline.loaders import PixelOrder
from feedline.prep import SyntheticSpec, prepare_tiny_imagenet, read_document, write_shards, write_synthetic
from feedline.train import TrainConfig

REPETITIONS = 2000
SLACK = 0.02  # three standard errors of a share of 2,000 repetitions


def shares(apart: float, deviation: float, seeds: int, confidence: float = 0.95) -> dict[str, float]:
    """Return how often each verdict comes for ways that are ``apart`` points apart."""
    rng = np.random.default_rng(seeds)
    zero = [0.0] * seeds
    found = Counter(
        difference(rng.normal(apart, deviation, seeds).tolist(), zero, confidence).verdict for _ in range(REPETITIONS)
    )
    return {verdict: found[verdict] / REPETITIONS for verdict in ("agree", "differ", "undecided")}


def run(way: str, seed: int, top1: float) -> TrainedRun:
    loader, _, pixels = way.partition(", ")
    return TrainedRun(
        loader=loader,
        pixels="planar" if pixels else "exact",
        seed=seed,
        top1=top1,
        loss=1.0,
        images_per_second=1.0,
    )


@pytest.mark.parametrize(
    ("probability", "freedom", "quantile"),
    [(0.975, 1, 12.706), (0.975, 4, 2.776), (0.975, 30, 2.042), (0.99375, 9, 3.111), (0.975, 100_000, 1.960)],
)
def test_quantiles_are_those_of_the_printed_tables(probability: float, freedom: int, quantile: float) -> None:
    """Student's t has heavier tails than the normal distribution, and becomes it with many degrees of freedom."""
    assert t_quantile(probability, freedom) == pytest.approx(quantile, abs=1e-3)


@pytest.mark.parametrize("confidence", [0.95, 0.9875])
@pytest.mark.parametrize("deviation", [0.3, 1.0])
def test_the_number_of_seeds_gives_the_power_that_is_promised(deviation: float, confidence: float) -> None:
    """Equal ways agree, and ways that are the margin apart differ, each with a probability of at least POWER."""
    seeds = seeds_for(deviation, confidence)
    equal, apart = shares(0.0, deviation, seeds, confidence), shares(MARGIN, deviation, seeds, confidence)

    assert equal["agree"] >= POWER - SLACK and equal["differ"] <= 1 - confidence + SLACK
    assert apart["differ"] >= POWER - SLACK and apart["agree"] <= (1 - confidence) / 2 + SLACK


@pytest.mark.parametrize("seeds", [3, 10, 40])
@pytest.mark.parametrize("loss", [0.5, 2.0])
def test_a_true_loss_is_hardly_ever_called_agreement(loss: float, seeds: int) -> None:
    """With any number of seeds: a few seeds make the interval wide and never the verdict lenient."""
    assert shares(-loss, 1.5, seeds)["agree"] <= 0.025 + SLACK


def test_fewer_seeds_are_needed_the_less_the_differences_vary() -> None:
    """Half the deviation needs about a quarter of the seeds."""
    assert [seeds_for(deviation) for deviation in (2.0, 1.0, 0.5, 0.0)] == [171, 45, 13, 3]


def test_pairs_of_a_seed_show_what_means_hide() -> None:
    """Seeds differ by 10 points and the ways by 0.1: the difference by seed has no part of the former."""
    runs = [run("imagefolder", seed, 0.70 + 0.02 * seed) for seed in range(6)]
    runs += [run("threaded", seed, 0.70 + 0.02 * seed + 0.001 * (seed % 2)) for seed in (5, 3, 1, 0, 2, 4)]
    found = compare(runs)["threaded", "imagefolder"]

    assert found.mean == pytest.approx(0.05) and found.deviation < 0.06 and found.verdict == "agree"
    assert "`threaded` and `imagefolder` agree within 0.5 points." in agreement(runs)


def test_other_pixels_are_compared_with_the_exact_ones_of_the_same_loader() -> None:
    """Not with the first loader, whose order of samples is another; a loss is named, and so is what is not decided."""
    ways = {"imagefolder": 0.0, "dali": 0.0, "threaded": 0.0, "threaded, planar": -0.05}
    rng = np.random.default_rng(0)
    runs = [
        run(way, seed, 0.9 + apart + rng.normal(0, 0.02 if way == "dali" else 0.0001))
        for seed in range(8)
        for way, apart in ways.items()
    ]
    found, text = compare(runs), agreement(runs)

    assert list(found) == [
        ("dali", "imagefolder"),
        ("threaded", "imagefolder"),
        ("threaded, planar", "threaded"),
    ]
    assert {apart.confidence for apart in found.values()} == {1 - 0.05 / 3}
    assert "`threaded` and `imagefolder` agree within 0.5 points; `threaded, planar` and `threaded` differ;" in text
    assert "undecided: `dali` and `imagefolder` (by their standard deviations, " in text


def test_one_seed_compares_nothing() -> None:
    """There is no interval, and no verdict."""
    assert agreement([run("imagefolder", 0, 0.9), run("dali", 0, 0.9)]).endswith("A comparison needs 2 seeds.")


def test_a_wide_interval_around_zero_is_undecided() -> None:
    """Equal means of two seeds prove nothing."""
    wide = Difference(seeds=2, mean=0.0, deviation=1.0, low=-9.0, high=9.0, confidence=0.95)

    assert wide.verdict == "undecided"


def few_ways(ways: list[tuple[str, PixelOrder]]) -> list[tuple[str, PixelOrder]]:
    """Return the first way and the last, which is the other order of pixels."""
    return [ways[0], ways[-1]]


@pytest.mark.slow
def test_a_second_run_trains_the_seeds_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way of every seed once, written after each seed; the checkpoints are not kept."""
    monkeypatch.setattr(accuracy, "ways_of", lambda root: few_ways(ways_of(root)))  # a training takes seconds
    write_synthetic(tmp_path, SyntheticSpec(layout="tiny-imagenet", classes=2, images_per_class=20))
    prepare_tiny_imagenet(tmp_path / "tiny-imagenet-200.zip", tmp_path / "data")
    write_shards(tmp_path / "data")
    config = TrainConfig(
        root=tmp_path / "data",
        out=tmp_path,
        epochs=1,
        batch_size=16,
        image_size=16,
        stem="imagenet",
        workers=0,
        device="cpu",
    )
    empty = AccuracyRecord(
        date="2026-01-01", command="", code=running_code(), environment=capture(), config=config, runs=()
    )
    first = measure(empty, tmp_path, [0])
    both = measure(first, tmp_path, [0, 1])

    assert read_document(tmp_path / "accuracy.json", AccuracyRecord) == both
    assert both.runs[: len(first.runs)] == first.runs
    assert [(run.seed, run.loader, run.pixels) for run in both.runs] == [
        (seed, loader, pixels) for seed in (0, 1) for loader, pixels in few_ways(ways_of(config.root))
    ]
    assert ("threaded", "planar") in ways_of(config.root)
    assert not list(tmp_path.glob("runs/*/checkpoints"))
