"""The report: the right numbers, complete in one file, and safe whatever the records contain."""

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from feedline.benchmarks import Plan, Record, Window, bench, read_records, render_report, write_record
from feedline.benchmarks.bench.training_speed import Speed, SpeedRecord
from feedline.benchmarks.machine.process_usage import BytesRead
from feedline.benchmarks.measuring.process import MeasuringJob, MeasuringRun
from feedline.benchmarks.measuring.record import running_code
from feedline.benchmarks.report.training import read_run
from feedline.cli.main import run as feedline
from feedline.prep import to_json, write_document
from feedline.train import Metrics, TrainConfig
from feedline.train.history import EpochRecord

from ..runs import run_at

RATES = {("imagefolder", 0): 400, ("imagefolder", 2): 1000, ("webdataset", 0): 500, ("webdataset", 2): 1250}


def fake_run(job: MeasuringJob, timeout: float) -> MeasuringRun:
    """Return a run with the rate of the table above; the ceiling is 5000 images/s."""
    rate = RATES.get((job.loader, job.spec.workers), 5000)
    return run_at(rate, peak_rss_bytes=3 * 2**29, cpu_seconds=0.006 * rate)


@pytest.fixture
def records(root: Path, tmp_path: Path) -> Path:
    """Return a directory with the records of a bench with known rates."""
    plan = Plan(root=root, loaders=("imagefolder", "webdataset", "cached"), workers=(0, 2), repeats=2)
    bench(plan, tmp_path / "bench", run=fake_run)
    return tmp_path / "bench"


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Path:
    """Return the directory of a training run of two epochs."""
    path = tmp_path / "run"
    path.mkdir()
    write_document(path / "config.json", TrainConfig(root=root, out=path, loader="webdataset", workers=2, device="cpu"))
    epochs = [
        EpochRecord(
            epoch=epoch,
            step=10 * epoch,
            lr=0.1,
            train=Metrics(loss=2.0 / epoch, top1=0.3 * epoch, top5=0.9),
            val=Metrics(loss=2.2 / epoch, top1=0.25 * epoch, top5=0.875),
            images=640,
            seconds=2.0,
            data_wait=0.125,
            images_per_second=320.0,
        )
        for epoch in (1, 2)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(to_json(epoch)) + "\n" for epoch in epochs))
    return path


class Words(HTMLParser):
    """The text that a reader sees, and every tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._hidden = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.text.append(" ".join(data.split()))

    @property
    def headline(self) -> str:
        return next(text for text in self.text if "fastest" in text or "Inconclusive" in text)


def test_the_page_says_what_the_records_say(records: Path, tmp_path: Path) -> None:
    """The winner on top, then each rate with its share of the ceiling, its cost, and the command."""
    assert feedline(["report", str(records), "--out", str(tmp_path / "report.html")]) == 0
    page = Words((tmp_path / "report.html").read_text("utf-8"))
    row = page.text.index("webdataset", page.text.index("Throughput"))

    assert page.headline == (
        "webdataset with 2 workers is the fastest: 1,250 images/s, 1.25 times imagefolder with 2 workers."
    )
    assert page.text[row : row + 6] == ["webdataset", "0", "500", "0%", "10%", "28%"]
    assert "AU, one H100" in page.text and any("computed, not emulated" in text for text in page.text)
    assert {"25%", "5,000", "0.75 s", "2.00 ms", "1.50 GiB"} <= set(page.text)
    assert any(text.startswith("feedline bench ") and "--workers 0,2" in text for text in page.text)


def test_training_speed_beside_the_records_is_shown(root: Path, records: Path, tmp_path: Path) -> None:
    """feedline bench and bench --train may share their directory; the training speed of another machine is refused."""
    environment = read_records([records])[0].environment
    speeds = [("imagefolder", 160.0), ("cached", 320.0)]
    record = SpeedRecord(
        date="2026-01-01T00:00:00+00:00",
        code=running_code(),
        environment=environment,
        config=TrainConfig(root=root, out=records, device="cpu"),
        steps=3,
        speeds=tuple(
            Speed(device="cpu", ranks=1, loader=name, workers=2, images_per_second=rate, data_wait=0.5)
            for name, rate in speeds
        ),
    )
    write_document(records / "training-speed.json", record)
    assert feedline(["report", str(records), "--out", str(tmp_path / "report.html")]) == 0
    page = Words((tmp_path / "report.html").read_text("utf-8"))
    place = page.text.index("Training speed")
    row = page.text.index("1 x cpu", place)
    assert page.text[row : row + 7] == ["1 x cpu", "imagefolder", "2", "160", "50%", "-", "50.0%"]

    machine = replace(environment.machine, cpu="another")
    write_document(records / "training-speed.json", replace(record, environment=replace(environment, machine=machine)))
    assert feedline(["report", str(records), "--out", str(tmp_path / "report.html")]) == 1


def test_cold_stands_beside_warm_with_what_the_disk_delivered(root: Path, tmp_path: Path) -> None:
    """Whole runs are compared: 1200 images in 4 s warm, 600 cold; 1 MB for 10 images is 100 kB each."""
    plan = Plan(root=root, loaders=("imagefolder",), workers=(2,), repeats=1, caches=("warm", "cold"))
    bench(plan, tmp_path / "bench", run=fake_run)
    for record in read_records([tmp_path / "bench"]):
        cold = record.cache_asked == "cold"
        read = BytesRead(disk=60_000_000 if cold else 0, calls=0)
        found = run_at(200 if cold else 400, first_batch_seconds=1.0, bytes_read=read)
        write_record(
            tmp_path / "bench", replace(record, cache=record.cache_asked or "unknown", measurement=found.measurement)
        )
    out = tmp_path / "page" / "report.html"
    assert feedline(["report", str(tmp_path / "bench"), "--out", str(out)]) == 0
    text = Words(out.read_text("utf-8")).text
    row = text.index("imagefolder", text.index("Cold against warm"))

    assert text[row : row + 6] == ["imagefolder", "2", "150", "300", "50%", "100.0 kB"]
    assert "0.0 kB" in text


def test_scaling_is_shown_for_several_worker_counts(records: Path) -> None:
    """1250 images/s with 2 workers are 2.5 times the 500 with none."""
    text = Words(render_report(read_records([records]))).text

    assert {"Scaling", "1.00", "2.50"} <= set(text)
    assert "Scaling" not in Words(render_report([read_records([records])[0]])).text


def test_the_runs_are_a_table_for_notebooks_too(records: Path, tmp_path: Path) -> None:
    """One row for each run, the same next to the page as next to the records, every number unrounded."""
    assert feedline(["report", str(records), "--out", str(tmp_path / "page" / "report.html")]) == 0
    text = (tmp_path / "page" / "bench.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    record = read_records([records])[0]

    assert text == (records / "bench.csv").read_text("utf-8")
    assert len(rows) == len(list(records.glob("*.json"))) == 10
    assert (rows[0]["loader"], int(rows[0]["workers"])) == (record.loader, record.config.workers)
    assert float(rows[0]["images_per_second"]) == record.measurement.images_per_second
    assert float(rows[0]["h100_au"]) == record.measurement.images_per_second / (400 / 0.224)
    assert (rows[0]["disk_bytes_per_image"], float(rows[0]["cpu_ms_per_image"])) == ("", 2.0)
    assert {row["repeat"] for row in rows} == {"0", "1"}


def test_the_page_is_self_contained(records: Path, run: Path, tmp_path: Path) -> None:
    """It has no script and fetches nothing: no address in any attribute, no url() and no import in the style."""
    out = tmp_path / "report.html"
    assert feedline(["report", str(records), "--run", str(run), "--out", str(out)]) == 0
    text = out.read_text("utf-8")

    for tag, attributes in Words(text).tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "img")
        assert not {"src", "href", "srcset", "data", "action"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"https?://|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_a_training_run_is_shown_with_its_curve(records: Path, run: Path, tmp_path: Path) -> None:
    """Accuracy of the last epoch, the loader, and a chart of every epoch."""
    out = tmp_path / "report.html"
    assert feedline(["report", str(records), "--run", str(run), "--out", str(out)]) == 0
    words = Words(out.read_text("utf-8")).text
    text, accuracy = " ".join(words), words.index("Accuracy, %")

    assert "was trained at 224 px through webdataset with 2 workers." in text
    assert "It reached 50% top-1 and 88% top-5 on val, and 60% top-1 on train, after 2 epochs at 320 images/s." in text
    assert "12% of the last epoch spent waiting for data" in text
    values = words.index("Epoch", accuracy)
    assert words[values : values + 9] == [
        "Epoch",
        "top-1 on val",
        "top-1 on train",
        "1",
        "25.0",
        "30.0",
        "2",
        "50.0",
        "60.0",
    ]
    values = words.index("Epoch", values + 1)
    assert words[values : values + 9] == ["Epoch", "val", "train", "1", "2.200", "2.000", "2", "1.100", "1.000"]


def test_the_chart_shows_every_rate_with_its_range(root: Path, tmp_path: Path) -> None:
    """In a table below the chart: the median, and the slowest and the fastest run where they differ."""
    rates = iter((900, 1000, 1200))

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        return run_at(next(rates) if job.spec.workers else 400)

    bench(Plan(root=root, loaders=("imagefolder",), workers=(0, 2), repeats=3), tmp_path / "bench", run=run)
    words = Words(render_report(read_records([tmp_path / "bench"]))).text
    chart = words.index("Workers", words.index("Throughput, images/s"))

    assert words[chart : chart + 6] == ["Workers", "imagefolder", "0", "400", "2", "1,000 (900 to 1,200)"]


def test_the_chart_follows_the_colours_of_the_page(records: Path, run: Path) -> None:
    """No colour, font or name of a loader is fixed in the SVG; the same records give the same page."""
    found = read_records([records])
    page = render_report(found, read_run(run))
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    ids = re.findall(r' id="(.*?)"', page)

    assert len(charts) == 3 and page == render_report(found, read_run(run))
    for chart in charts:
        assert "var(--c0)" in chart and "var(--soft)" in chart and "var(--rule)" in chart
        assert not re.search(r"#[0-9a-f]{6}[;\"]|font|webdataset", chart)
    assert ids and len(ids) == len(set(ids))
    assert set(re.findall(r'href="#(.*?)"', page)) == set(ids)


def hostile(record: Record, evil: str) -> Record:
    """Put ``evil`` into every string that a stranger's record could carry."""
    environment = record.environment
    machine = replace(environment.machine, cpu=evil, gpu=evil)
    return replace(
        record,
        loader=evil,
        command=("feedline", evil),
        code=replace(record.code, commit=evil),
        data=replace(record.data, dataset=evil, filesystem=evil),
        config=replace(record.config, split=evil),
        environment=replace(environment, machine=machine, driver=evil, libraries={evil: evil}, platform=evil),
    )


def test_hostile_names_are_text_and_nothing_else(records: Path) -> None:
    """Markup and mathematics in the name of a machine, loader or data set are shown as text."""
    for evil in ("<script>alert('x')</script>", r"$\frac{$", "#0b6e99;"):
        page = render_report([hostile(record, evil) for record in read_records([records])])

        assert "<script" not in page.lower()
        assert "script" not in {tag for tag, _ in Words(page).tags}
        assert sum(evil in text for text in Words(page).text) > 5


def test_complaints_have_the_next_step(records: Path) -> None:
    """Spread, worker count, load, repeats, uncommitted changes, a missing ceiling: each has its complaint."""
    record = next(r for r in read_records([records]) if r.config.workers == 2)
    record = replace(
        record,
        cache="unknown",
        code=replace(record.code, commit="0" * 40, dirty=True),
        config=replace(record.config, workers=512),
        environment=replace(record.environment, load_average=512.0, governor="powersave"),
        measurement=replace(
            record.measurement,
            windows=tuple(Window(seconds=1.0, samples=samples) for samples in (100, 150, 200)),
            gap_seconds=(2.0,),
        ),
    )
    text = " ".join(Words(render_report([record])).text)

    for doubt, step in [
        ("67% for", "--seconds 10"),
        ("measured once", "--repeats 3"),
        ("512 workers share", "--workers"),
        ("load 512.0", "end them"),
        ("ceiling was not measured", "--loader cached"),
        ("could not confirm", "a part of the data set"),
        ("an epoch is short", "more images"),
        ("uncommitted changes", "commit them"),
        ("powersave", "cpupower"),
    ]:
        assert doubt in text and step in text


def test_records_of_two_machines_are_refused(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their rates cannot be compared, so no page is written."""
    record = read_records([records])[0]
    machine = replace(record.environment.machine, memory_gib=1)
    (tmp_path / "other").mkdir()
    write_record(tmp_path / "other", replace(record, environment=replace(record.environment, machine=machine)))
    out = tmp_path / "report.html"

    assert feedline(["report", str(records), str(tmp_path / "other"), "--out", str(out)]) == 1
    assert "different machines (memory_gib" in capsys.readouterr().err
    assert not out.exists()


def foreign(path: Path) -> None:
    path.write_text('{"kind": "shopping list"}')


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize("damage", [foreign, cut, Path.unlink])
def test_a_record_that_cannot_be_used_is_named(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    """Foreign, cut off or missing: exit code 1, one sentence, no page."""
    path = next(records.glob("*.json"))
    damage(path)

    assert feedline(["report", str(path), "--out", str(tmp_path / "report.html")]) == 1
    assert path.name in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("line", ["", "{}\n", '{"epoch": 1\n', "NaN"])
def test_a_damaged_training_run_is_named(
    records: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    """The file and the line that cannot be read."""
    (run / "metrics.jsonl").write_text(line)

    assert feedline(["report", str(records), "--run", str(run), "--out", str(tmp_path / "report.html")]) == 1
    assert "metrics.jsonl" in capsys.readouterr().err


def test_an_accuracy_that_is_no_number_is_damage(
    records: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A chart cannot show it."""
    metrics = run / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("0.25", "NaN", 1))

    assert feedline(["report", str(records), "--run", str(run), "--out", str(tmp_path / "report.html")]) == 1
    assert "damaged in line 1" in capsys.readouterr().err


CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs chromium to look at the page")
def test_a_phone_shows_the_page_without_scrolling_sideways(records: Path, run: Path, tmp_path: Path) -> None:
    """Laid out 390 pixels wide, in a real browser, the page is no wider than that, with the values of charts open."""
    report = tmp_path / "report.html"
    assert feedline(["report", str(records), "--run", str(run), "--out", str(report)]) == 0
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="f" src="{report.as_uri()}" style="width:390px;height:800px;border:0"></iframe><script>'
        "onload = () => { const page = document.getElementById('f').contentDocument.documentElement;"
        "page.querySelectorAll('details').forEach(values => { values.open = true; });"
        "document.title = page.scrollWidth + ' of ' + page.clientWidth; }</script>"
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    places = [
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--allow-file-access-from-files",
        "--virtual-time-budget=2000",
    ]
    done = subprocess.run(
        [CHROMIUM, *flags, *places, "--dump-dom", frame.as_uri()], capture_output=True, text=True, timeout=60
    )

    assert "<title>390 of 390</title>" in done.stdout
