"""The verdict and the recommendation: known rates give known results on every machine."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from feedline.benchmarks.diagnose.recommend import (
    CurvePoint,
    baseline,
    break_even,
    enough_workers,
    recommend,
    training_rate,
)
from feedline.benchmarks.diagnose.verdict import (
    BALANCED,
    DifferentialRates,
    Rate,
    decide_verdict,
    rate_of,
    state_that_counts,
)
from feedline.prep import MeasurementError


def rate(value: float, spread: float = 0.02) -> Rate:
    return Rate(images_per_second=value, lowest=value * (1 - spread / 2), highest=value * (1 + spread / 2))


def evidence(
    model: float = 1000,
    warm: float = 5000,
    cold: float | None = None,
    *,
    fetch_share: float = 0.05,
    spread: float = 0.02,
) -> DifferentialRates:
    """Return the rates of a loader and a model that run at the same time; with a cold rate, the state is cold."""
    loader = warm if cold is None else cold
    return DifferentialRates(
        model=rate(model, spread),
        warm=rate(warm, spread),
        cold=None if cold is None else rate(cold, spread),
        together=rate(min(model, loader), spread),
        fetch_share=fetch_share,
        state="warm" if cold is None else "cold",
    )


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (evidence(model=1000, warm=5000), "compute-bound"),
        (evidence(model=5000, warm=1000), "decode-bound"),
        (evidence(model=5000, warm=1000, fetch_share=0.8), "fetch-bound"),
        (evidence(model=5000, warm=4000, cold=500), "fetch-bound"),
        (evidence(model=5000, warm=1000, cold=900), "decode-bound"),
        (evidence(model=300, warm=4000, cold=500), "compute-bound"),
        (evidence(model=1000, warm=1050), "balanced"),
        (evidence(model=1050, warm=1000), "balanced"),
        (evidence(model=1000, warm=1100, spread=0.6), "inconclusive"),
        (evidence(model=5000, warm=1000, fetch_share=0.5, spread=0.2), "decode-bound"),
        (evidence(model=1000, warm=5000, spread=0.6), "compute-bound"),
    ],
)
def test_known_numbers_give_known_verdicts(found: DifferentialRates, verdict: str) -> None:
    """Distant rates give a verdict with any spread; close rates are balanced, or inconclusive with a large spread."""
    assert decide_verdict(found).name == verdict


def test_the_verdict_has_the_numbers_behind_it() -> None:
    """The verdict has both rates, the state of the cache, the time of each stage, and the share that is lost."""
    verdict = decide_verdict(evidence(model=2000, warm=1000))

    assert "1,000 images/s (warm data)" in verdict.sentence and "2,000" in verdict.sentence
    assert verdict.stall == pytest.approx(0.5)
    assert verdict.milliseconds == pytest.approx({"fetch": 0.05, "decode": 0.95, "model": 0.5})


def test_runs_that_contradict_each_other_are_inconclusive() -> None:
    """A model that takes 1,000 images/s alone cannot take 2,500 from a loader, and that rate would be balanced."""
    found = replace(evidence(model=1000, warm=2400), together=rate(2500))

    assert decide_verdict(found).name == "inconclusive"
    assert "together, more than one of them alone" in decide_verdict(found).sentence


def test_a_contradiction_that_does_not_change_the_verdict_is_accepted() -> None:
    """Short runs differ: 110 images/s together and 100 of the loader alone are still decode-bound."""
    assert decide_verdict(replace(evidence(model=1000, warm=100), together=rate(110))).name == "decode-bound"


def test_an_inconclusive_verdict_names_the_candidates_and_the_next_command() -> None:
    """With a spread of 60 %, several verdicts fit a loader of 1.1 times the model's speed."""
    sentence = decide_verdict(evidence(model=1000, warm=1100, spread=0.6)).sentence

    assert "60%" in sentence and "compute-bound or decode-bound" in sentence and "--repeats" in sentence


RATES = st.floats(min_value=1, max_value=1e5)
RUNS = st.lists(RATES, min_size=1, max_size=4).map(rate_of)
SHARES = st.floats(min_value=0, max_value=1)


@st.composite
def found_evidence(draw: st.DrawFn) -> DifferentialRates:
    cold = draw(st.none() | RUNS)
    state = "warm" if cold is None else draw(st.sampled_from(["warm", "cold"]))
    return DifferentialRates(
        model=draw(RUNS), warm=draw(RUNS), cold=cold, together=draw(RUNS), fetch_share=draw(SHARES), state=state
    )


def scaled(found: Rate, factor: float) -> Rate:
    return Rate(
        images_per_second=factor * found.images_per_second, lowest=factor * found.lowest, highest=factor * found.highest
    )


@given(found_evidence(), st.integers(min_value=-20, max_value=20))
def test_a_machine_twice_as_fast_in_everything_has_the_same_bottleneck(found: DifferentialRates, power: int) -> None:
    """A factor on all rates keeps the verdict. Factors are powers of two, with which floating point is exact."""
    factor = 2.0**power
    rates = {name: scaled(getattr(found, name), factor) for name in ("model", "warm", "together")}
    other = replace(found, **rates, cold=None if found.cold is None else scaled(found.cold, factor))

    assert decide_verdict(other).name == decide_verdict(found).name


@given(found_evidence(), RUNS, st.integers(min_value=1, max_value=7))
def test_a_slower_disk_never_makes_the_model_the_bottleneck(found: DifferentialRates, cold: Rate, power: int) -> None:
    """If the model is the bottleneck with a slower disk, it is the bottleneck with the faster disk too."""
    before = replace(found, cold=cold, state="cold")
    after = replace(before, cold=scaled(cold, 0.5**power))

    assert decide_verdict(after).name != "compute-bound" or decide_verdict(before).name == "compute-bound"


@given(found_evidence())
def test_the_times_of_a_verdict_add_up(found: DifferentialRates) -> None:
    """Fetch and decode add up to the loader's time per image, and none is negative."""
    verdict = decide_verdict(found)
    loader = 1000 / found.loader.images_per_second

    assert verdict.milliseconds["fetch"] + verdict.milliseconds["decode"] == pytest.approx(loader)
    assert min(verdict.milliseconds.values()) >= 0 and 0 <= verdict.stall <= 1


@pytest.mark.parametrize("rates", [(0, 1, 2), (3, 2, 4), (1, 2, math.inf), (1, math.nan, 2)])
def test_values_that_are_no_rate_are_rejected(rates: tuple[float, float, float]) -> None:
    """The values are zero, infinity, NaN and a median outside its own range."""
    lowest, median, highest = rates
    with pytest.raises(MeasurementError, match="are not the lowest, median and highest of any rates"):
        Rate(images_per_second=median, lowest=lowest, highest=highest)


def test_data_larger_than_free_memory_are_cold_in_every_epoch() -> None:
    """ImageNet's 138 GiB do not fit into 16 GiB; Tiny-ImageNet's 0.25 GiB do."""
    assert state_that_counts(138 * 2**30, 16 * 2**30) == "cold"
    assert state_that_counts(2**28, 16 * 2**30) == "warm"


def point(loader: str, workers: int, value: float, spread: float = 0.02) -> CurvePoint:
    return CurvePoint(loader=loader, workers=workers, rate=rate(value, spread), cpu_seconds_per_image=0.001)


CURVE = [
    point("imagefolder", 0, 500),
    point("imagefolder", 2, 900),
    point("imagefolder", 4, 950),
    point("threaded", 0, 1200),
    point("threaded", 2, 2300),
    point("threaded", 4, 2500),
    point("threaded", 8, 2510),
]


def test_the_recommendation_is_the_knee_and_not_the_maximum() -> None:
    """Eight threads are 0.4 % faster than four, within their spread of 2 %, so four are recommended."""
    found = recommend(CURVE)

    assert (found.loader, found.workers) == ("threaded", 4)


def test_a_noisy_curve_has_an_earlier_knee() -> None:
    """If the best has a spread of 20 %, two threads are within it."""
    curve = [*CURVE[:-1], point("threaded", 8, 2510, spread=0.2)]

    assert recommend(curve).workers == 2


def test_no_workers_are_recommended_only_without_a_choice() -> None:
    """Loading in the trainer's own thread stops while the model computes, so its rate alone is not enough."""
    assert recommend([point("threaded", 0, 3000), point("threaded", 1, 2999)]).workers == 1
    assert recommend([point("threaded", 0, 3000)]).workers == 0


def test_a_slow_model_needs_fewer_workers() -> None:
    """Two threads load 1,000 images/s with a tenth to spare; no measured number of threads loads 5,000."""
    assert enough_workers(CURVE, "threaded", 1000) == 2
    assert enough_workers(CURVE, "threaded", 5000) is None


def test_the_gain_is_relative_to_the_baseline() -> None:
    """The baseline is the first loader of the table with one worker per CPU."""
    assert (baseline(CURVE, cpus=4).loader, baseline(CURVE, cpus=4).workers) == ("imagefolder", 4)


def test_the_slower_part_decides_unless_loader_and_model_take_turns() -> None:
    """1000 and 1000 images/s give 1000 with workers on other CPUs than the model, and 500 otherwise."""
    assert training_rate(1000, 1000, shares_cpus=False, workers=2) == 1000
    assert training_rate(1000, 1000, shares_cpus=False, workers=0) == pytest.approx(500)
    assert training_rate(1000, 1000, shares_cpus=True, workers=2) == pytest.approx(500)


def test_the_verdict_changes_at_the_break_even() -> None:
    """At these CPUs, this bandwidth or this model loader and model are equal; a tenth more or less decides."""
    found = evidence(model=4000, warm=2000)
    turns = break_even(found, point("threaded", 2, 2000), 110_000, shares_cpus=False)

    assert turns.cpus == pytest.approx(4)  # 1 ms of CPU time per image
    assert turns.disk_bytes_per_second == pytest.approx(2000 * 110_000)
    at = turns.model_images_per_second
    assert decide_verdict(replace(found, model=rate(at), together=rate(at))).name == "balanced"
    assert decide_verdict(replace(found, model=rate(at * 1.2))).name == "decode-bound"
    slower = rate(at / (BALANCED * 1.1))
    assert decide_verdict(replace(found, model=slower, together=slower)).name == "compute-bound"
    assert break_even(found, point("threaded", 2, 2000), 110_000, shares_cpus=True).cpus is None
