"""Emulated accelerators in ``feedline diagnose``: the command, its documents, and its sentences."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feedline.benchmarks import Plan, bench
from feedline.benchmarks.diagnose import emulated
from feedline.benchmarks.diagnose.diagnose import Diagnosis, build_diagnosis, read_diagnosis, write_diagnosis
from feedline.benchmarks.diagnose.diagnosis_runs import DiagnosisPlan
from feedline.benchmarks.diagnose.emulated import add_utilisation, utilisation_advice
from feedline.benchmarks.measuring.model_step import ModelStep
from feedline.benchmarks.utilisation.accelerators import H100
from feedline.benchmarks.utilisation.child import EmulationJob
from feedline.benchmarks.utilisation.emulation import EmulationPlan
from feedline.benchmarks.utilisation.steps import Emulated
from feedline.benchmarks.utilisation.utilisation import Utilisation
from feedline.cli.main import run as feedline
from feedline.prep import MeasurementError

from ..runs import invented_rates, run_at

SEARCH = EmulationPlan(accelerator=H100, batch_size=4)
STEP = ModelStep(seconds_per_image=1 / H100.images_per_second)


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the diagnosis of the command from invented runs; only the emulation is real."""

    def invented(plan: DiagnosisPlan, *, progress: Any, **about: Any) -> Diagnosis:
        return build_diagnosis(plan, invented_rates(), **about)

    monkeypatch.setattr(emulated, "diagnose", invented)


def invented(root: Path, **plan: Any) -> Diagnosis:
    return build_diagnosis(DiagnosisPlan(root=root, step=STEP, **plan), invented_rates())


class Machine:
    """A machine that feeds some accelerators, whatever their loaders do."""

    def __init__(self, feeds: float) -> None:
        self._feeds = feeds
        self.jobs: list[Sequence[EmulationJob]] = []

    def __call__(self, jobs: Sequence[EmulationJob], seconds: float, timeout: float) -> list[Emulated]:
        self.jobs.append(jobs)
        au = min(1.0, self._feeds / len(jobs))
        images = round(100_000 * au * H100.images_per_second)
        one = Emulated(
            steps=100,
            compute_seconds=100 * au,
            seconds=100,
            images=images,
            whole_seconds=100_000,
            epochs=2,
            cpu_seconds=1,
        )
        return [one] * len(jobs)


def found_on(root: Path, feeds: float, emulation: EmulationPlan = SEARCH, **plan: Any) -> Utilisation:
    found = add_utilisation(invented(root, **plan), emulation, run=Machine(feeds)).utilisation
    assert found is not None
    return found


@pytest.mark.usefixtures("undisturbed")
def test_the_command_emulates_accelerators_with_a_real_loader(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two processes load their halves at 32 px; the answer, the document and the page have the same utilisation."""
    arguments = ["--gpu", "h100", "--accelerators", "2", "--batch-size", "4", "--image-size", "32", "--seconds", "0.05"]
    arguments += ["--repeats", "1", "--out", str(tmp_path), "--json"]

    assert feedline(["diagnose", str(root), *arguments]) == 0
    stdout, stderr = capfd.readouterr()
    answer = json.loads(stdout)["utilisation"]
    found = read_diagnosis(tmp_path / "diagnosis.json").utilisation
    assert found is not None
    (run,) = found.runs

    assert (answer["accelerators"], answer["asked"], answer["au"]) == (2, 2, run.au) and 0 < run.au <= 1
    assert answer["kept"] == (2 if run.au >= 0.9 else None)
    assert all(result.au <= 1 and result.images % 4 == 0 for result in run.results)
    assert run.results[0].steps == run.results[1].steps >= 1
    assert found.fraction == answer["fraction"] == 1000 / (400 / 0.224)
    assert "2 emulated h100s at" in stderr and "no result of MLPerf Storage" in stderr and "TFRecord" in stderr


@pytest.mark.parametrize(("feeds", "kept"), [(0.5, 0), (0.95, 1), (2.8, 3)])
def test_the_most_accelerators_are_searched(root: Path, feeds: float, kept: int) -> None:
    """A machine that feeds 2.8 accelerators keeps three at 93 %; one that feeds half of one keeps none."""
    found = found_on(root, feeds)

    assert (found.kept, found.exact, found.asked) == (kept, True, None)
    assert found.headline.accelerators == max(1, kept)
    assert found.headline.au == pytest.approx(min(1, feeds / max(1, kept)))
    assert found.headline.images_per_second == pytest.approx(feeds * H100.images_per_second, rel=0.06)


def test_a_small_machine_reads_what_it_would_keep(root: Path) -> None:
    """The sentences have the utilisation, the share of one accelerator, and the CPUs and bandwidth that it takes."""
    diagnosis = add_utilisation(invented(root), SEARCH, run=Machine(0.5))
    assert diagnosis.utilisation is not None
    first, alone, name = diagnosis.utilisation.sentences
    (needs,) = utilisation_advice(diagnosis)

    assert first.startswith("This machine does not keep one h100: 1 emulated h100 at 50.0% utilisation")
    assert "threaded alone yields 1,000 images/s (warm data), 0.56 times what one h100 takes (1,786 images/s" in alone
    assert "by MLPerf Storage's definition, with JPEG decoding, and no result of MLPerf Storage" in name
    assert needs.startswith("1 h100 at 90% take 1,607 images/s: the time of 1.6 CPUs")
    assert needs.endswith("and 177 MB/s of reading.")


def test_each_accelerator_has_its_own_share_and_each_run_its_own_seed(root: Path) -> None:
    """Two accelerators divide the split and the recommended workers; the five runs have seeds 7 to 11."""
    machine = Machine(2)
    plan = replace(SEARCH, accelerators=2)
    add_utilisation(invented(root, seed=7, repeats=5), plan, run=machine)

    specs = [[job.spec for job in jobs] for jobs in machine.jobs]
    assert [[(spec.rank, spec.world_size, spec.workers, spec.drop_last) for spec in run] for run in specs] == [
        [(0, 2, 1, True), (1, 2, 1, True)]
    ] * 5
    assert [spec.seed for run in specs for spec in run] == [7, 7, 8, 8, 9, 9, 10, 10, 11, 11]
    assert {job.seconds_per_image for jobs in machine.jobs for job in jobs} == {0.224 / 400}


def test_the_rules_of_the_standard_are_compared(root: Path) -> None:
    """Six runs of two accelerators, five of them in a row after the search: the rules of runs are met, and no other."""
    rules = {rule.name: rule for rule in found_on(root, 2, repeats=6).rules}

    assert {name for name, rule in rules.items() if rule.met} == {"runs", "replicable", "seed"}
    assert rules["runs"].here == "5, after 4 others"
    assert rules["data"].requires == "5 times the memory of the host" and "500" in rules["steps"].requires
    assert rules["batch"].here == "4" and rules["cache"].here == "warm before each run"


def test_a_number_that_is_not_kept_says_so(root: Path) -> None:
    """Nothing smaller was tested, so nothing is said about it."""
    found = found_on(root, 1.2, replace(SEARCH, accelerators=2))

    assert found.kept is None
    assert found.sentences[0].startswith("Not kept: 2 emulated h100s at 60.0% utilisation (60.0%")


def test_too_little_data_is_one_sentence_or_a_note(root: Path) -> None:
    """A requested number is an error before anything is measured; a search is left out with the reason."""
    machine = Machine(1)
    with pytest.raises(MeasurementError, match=r"need two batches of 400 each.*fewer --accelerators"):
        add_utilisation(invented(root), EmulationPlan(accelerator=H100, accelerators=2), run=machine)
    found = add_utilisation(invented(root), EmulationPlan(accelerator=H100), run=machine)

    assert found.utilisation is None and machine.jobs == []
    assert "no accelerator was emulated" in found.problems[-1] and "smaller --batch-size" in found.problems[-1]


@pytest.mark.parametrize("gpu", [[], ["--gpu", "v100"], ["--step-ms", "5"]])
def test_accelerators_need_a_gpu_of_the_standard(gpu: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """Only two have a published time of a step."""
    assert feedline(["diagnose", "nowhere", "--accelerators", "2", *gpu]) == 2
    assert "--accelerators needs --gpu h100 or --gpu a100" in " ".join(capfd.readouterr().err.split())


def test_the_page_has_the_utilisation(root: Path, tmp_path: Path) -> None:
    """The sentence, the numbers that were tried, and the rules."""
    out = tmp_path / "bench"
    write_diagnosis(out, add_utilisation(invented(root), SEARCH, run=Machine(0.5)))
    bench(Plan(root=root, loaders=("threaded",), workers=(1,), repeats=1), out, run=lambda job, timeout: run_at(100))

    assert feedline(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(text in page for text in ("does not keep one h100", "Emulated h100", "50.0%", "<td>replicable"))


def test_a_diagnosis_without_accelerators_is_read(root: Path, tmp_path: Path) -> None:
    """Documents of earlier versions have no such field."""
    path = write_diagnosis(tmp_path, invented(root))
    document = json.loads(path.read_text())
    del document["utilisation"]
    path.write_text(json.dumps(document))

    assert read_diagnosis(path).utilisation is None
