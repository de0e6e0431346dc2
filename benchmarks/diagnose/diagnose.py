"""The diagnosis: it combines the measured rates, the verdict, the recommendation and the predictions in one document.

The document stores the verdict, the numbers behind it and every raw run, so that a report or a check needs no other
file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ...prep import SHARDS, FeedlineError, MeasurementError, Progress, read_document, silent
from ...prep.base.origins import origin_of
from ...prep.base.shell import shell_word
from ..machine.environment import Environment, capture
from ..measuring.encodings import Profile
from ..measuring.record import DIAGNOSIS, Code, running_code, write_beside_records
from ..utilisation.utilisation import Utilisation
from .diagnosis_runs import DiagnosisPlan, DiagnosisRun, MeasuredRates, measure_rates
from .hardware import Gpu
from .raw_pixels import RawPixels, compare_raw
from .recommend import BreakEven, CurvePoint, baseline, break_even, enough_workers, training_rate
from .verdict import DifferentialRates, Rate, State, Verdict, decide_verdict
from .what_if import WhatIf, what_ifs


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What the recommendation gains, in images/s of a training."""

    loader: str
    workers: int
    """The baseline: the first measured loader of the table, with one worker per usable CPU."""
    before: float
    """With the baseline."""
    after: float
    """With the recommendation."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The document of one diagnosis, ``diagnosis.json``."""

    format: Literal["feedline-diagnosis"] = "feedline-diagnosis"
    schema: Literal[1] = 1
    date: str
    command: tuple[str, ...]
    code: Code
    environment: Environment
    plan: DiagnosisPlan
    gpu: Gpu | None
    """The GPU whose published rate is used for the model, and the source of the rate."""
    verdict: Verdict
    loader: str
    """The loader that is diagnosed and recommended: the fastest that was measured, at its knee."""
    workers: int
    enough_workers: int | None
    """Fewest workers of this loader that feed the model with 10 % to spare; None if no measured count does."""
    gain: Gain
    break_even: BreakEven
    state: State
    data_bytes: int
    free_bytes: int
    model: Rate
    warm: Rate
    cold: Rate | None
    together: Rate
    profile: Profile
    curve: tuple[CurvePoint, ...]
    what_if: tuple[WhatIf, ...]
    problems: tuple[str, ...]
    runs: tuple[DiagnosisRun, ...]
    utilisation: Utilisation | None = None
    """Of emulated accelerators; None if none were emulated, and in older documents."""

    @property
    def epoch_sentence(self) -> str:
        """The state of the page cache that the verdict is for, and the reason."""
        data, free = f"{self.data_bytes / 2**20:,.0f} MiB", f"{self.free_bytes / 2**20:,.0f} MiB"
        if self.state == "warm":
            return f"The data ({data}) fit into free memory ({free}), so only the first epoch reads from the disk."
        if self.cold is None:
            return (
                f"The data ({data}) do not fit into free memory ({free}), so every epoch reads from the disk. "
                f"This machine cannot measure that: the verdict is for warm data, and the disk may be slower."
            )
        return f"The data ({data}) do not fit into free memory ({free}), so every epoch reads from the disk (cold)."

    @property
    def raw_pixels(self) -> RawPixels | None:
        """What shards of pixels would change; None if that was not measured, or if the images are pixels already."""
        return compare_raw(
            self.profile,
            self.what_if,
            warm=self.warm.images_per_second,
            data_bytes=self.data_bytes,
            free_bytes=self.free_bytes,
        )


def diagnose(
    plan: DiagnosisPlan, *, command: tuple[str, ...] = (), gpu: Gpu | None = None, progress: Progress = silent
) -> Diagnosis:
    """Measure ``plan`` and return the diagnosis. Raises the errors of ``measure_rates``."""
    return build_diagnosis(plan, measure_rates(plan, progress), command=command, gpu=gpu)


def build_diagnosis(
    plan: DiagnosisPlan, found: MeasuredRates, *, command: tuple[str, ...] = (), gpu: Gpu | None = None
) -> Diagnosis:
    """Return the diagnosis that follows from the measured rates."""
    chosen, cpus = found.chosen, (environment := capture()).machine.cpus
    measured = DifferentialRates(
        model=found.model,
        warm=found.warm,
        cold=found.cold,
        together=found.together,
        fetch_share=found.profile.as_is.fetch_share,
        state=found.state,
    )
    shares_cpus = plan.step.model is not None and plan.device == "cpu"
    model = found.model.images_per_second
    usual = baseline(found.curve, cpus)
    rates = [
        training_rate(point.rate.images_per_second, model, shares_cpus=shares_cpus, workers=point.workers)
        for point in (usual, chosen)
    ]
    predicted = what_ifs(
        found.profile,
        {point.workers: point.rate.images_per_second for point in found.curve if point.loader == chosen.loader},
        chosen.workers,
        model=model,
        shares_cpus=shares_cpus,
    )
    return Diagnosis(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        code=running_code(),
        environment=environment,
        plan=plan,
        gpu=gpu,
        verdict=decide_verdict(measured),
        loader=chosen.loader,
        workers=chosen.workers,
        enough_workers=enough_workers(found.curve, chosen.loader, model),
        gain=Gain(loader=usual.loader, workers=usual.workers, before=rates[0], after=rates[1]),
        break_even=break_even(measured, chosen, found.profile.as_is.bytes_per_image, shares_cpus=shares_cpus),
        state=found.state,
        data_bytes=found.data_bytes,
        free_bytes=found.free_bytes,
        model=found.model,
        warm=found.warm,
        cold=found.cold,
        together=found.together,
        profile=found.profile,
        curve=found.curve,
        what_if=tuple(predicted),
        problems=found.problems,
        runs=found.runs,
    )


def write_diagnosis(directory: Path, diagnosis: Diagnosis) -> Path:
    """Write ``diagnosis.json`` into ``directory`` and return its path; raise OutputError if it cannot be written."""
    path = directory / DIAGNOSIS
    write_beside_records(path, diagnosis)
    return path


def read_diagnosis(path: Path) -> Diagnosis:
    """Return the diagnosis at ``path``; raise MeasurementError if the file is not a diagnosis of this schema."""
    try:
        return read_document(path, Diagnosis)
    except FeedlineError as error:
        raise MeasurementError(
            f"not a diagnosis of this feedline: {error}; make one with: "
            f"feedline diagnose ROOT --out {shell_word(path.parent)}"
        ) from error


def find_diagnosis(places: Sequence[Path]) -> Diagnosis | None:
    """Return the newest diagnosis among the files and in the directories, None if there is none.

    Raises MeasurementError for a ``diagnosis.json`` that is not a diagnosis.
    """
    named = [place / DIAGNOSIS if place.is_dir() else place for place in places]
    found = [read_diagnosis(path) for path in named if path.name == DIAGNOSIS and path.is_file()]
    return max(found, key=lambda diagnosis: diagnosis.date, default=None)


def advice(found: Diagnosis) -> list[str]:
    """Return the next steps, most useful first, each as sentences with a number or a command."""
    turns, disk = found.break_even, found.break_even.disk_bytes_per_second / 1e6
    root = found.plan.root
    more = turns.cpus is not None and turns.cpus > found.environment.machine.cpus
    steps = {
        "fetch-bound": [
            f"Read from a disk of more than {disk:,.0f} MB/s, or keep the data in memory; the disk is then not the "
            f"limit.",
            *_smaller_images(found),
        ],
        "decode-bound": [
            *([f"Use {turns.cpus:,.1f} usable CPUs; decoding is then as fast as this model."] if more else []),
            *_faster_encodings(found),
            *_pixels(found),
        ],
        "compute-bound": [
            f"Use a faster GPU, mixed precision or a larger batch. The loader needs no change: it is fast enough for a "
            f"model that takes up to {turns.model_images_per_second:,.0f} images/s.",
        ],
        "balanced": [
            "Make both the loader and the model faster; they limit the training equally.",
        ],
        "inconclusive": [
            f"Close other programs, then run: feedline diagnose {shell_word(root)} --seconds 5 --repeats 5"
        ],
    }[found.verdict.name]
    if found.enough_workers is not None and found.enough_workers < found.workers:
        steps.append(f"{found.loader} with --workers {found.enough_workers} is already fast enough for this model.")
    return [
        *steps,
        f"Train with: feedline train {shell_word(root)} --loader {found.loader} --workers {found.workers} --out RUN",
    ]


def _faster_encodings(found: Diagnosis) -> list[str]:
    """Return advice to use the encodings whose measured images take less work than those of the current one."""
    times = found.profile.encodings
    here = times.get(found.profile.encode)
    if here is None:
        return []
    ratios = {name: here.mean_work / times[name].mean_work for name in times if name != found.profile.encode}
    return [
        f"Make decoding {ratio:.2f} times cheaper "
        + ("with smaller images, and check the accuracy" if name == "resize" else "without losing a pixel")
        + f": {_sharding(found, name)}"
        for name, ratio in sorted(ratios.items(), key=lambda item: item[1])
        if ratio > 1.1 and name not in ("copy", "raw")
    ]


def _sharding(found: Diagnosis, encode: str) -> str:
    """Return the command that writes shards with another ``--encode``."""
    root = found.plan.root
    if origin_of(root / SHARDS) is not None:
        return f"feedline shard ROOT --encode {encode}, where the images are, and upload the shards"
    return f"feedline shard {shell_word(root)} --encode {encode}"


def _pixels(found: Diagnosis) -> list[str]:
    """Return advice to store the pixels, if that pays."""
    raw = found.raw_pixels
    if raw is None or not raw.pays:
        return []
    return [f"{raw.sentence[:-1]}: {_sharding(found, f'raw --out OTHER/{SHARDS}')}"]


def _smaller_images(found: Diagnosis) -> list[str]:
    """Return advice to resize the images, if they are not resized already."""
    resized, here = found.profile.encodings.get("resize"), found.profile.encodings.get(found.profile.encode)
    if resized is None or here is None or found.profile.encode == "resize":
        return []
    return [
        f"Make images {here.bytes_per_image / resized.bytes_per_image:.1f} times smaller, and check the accuracy: "
        f"{_sharding(found, 'resize')}"
    ]
