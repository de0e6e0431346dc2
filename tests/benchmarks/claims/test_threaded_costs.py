"""The measurement of threaded's costs: it runs, its record can be read, and a missed promise is reported."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from feedline.benchmarks.claims.threaded import ThreadedRecord, findings, measure_threaded, table
from feedline.benchmarks.claims.threaded_costs import IMAGENET, Timed, load_undecoded
from feedline.loaders import LoaderSpec, threaded
from feedline.loaders.threaded import ThreadedLoader
from feedline.prep import MeasurementError, ShardSpec, read_document, to_json, write_shards

WITHOUT = [f"one process without decoding, {count}, batch 256" for count in ("1 thread", "2 threads")]


@pytest.fixture(scope="module")
def record(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ThreadedRecord:
    """Return the record of a short real measurement, read from the disk."""
    out, threads = tmp_path_factory.mktemp("record") / "threaded.json", torch.get_num_threads()
    try:
        measured = measure_threaded(root, out, images=20, repeats=2)
    finally:
        torch.set_num_threads(threads)
    assert read_document(out, ThreadedRecord) == measured
    assert sorted(path.name for path in out.parent.iterdir()) == ["threaded.json"]
    return measured


@pytest.mark.slow
def test_every_part_is_measured_and_nothing_is_left_behind(record: ThreadedRecord) -> None:
    """Each part has one time per repeat; the index has ImageNet's samples; small images are scaled at small sizes."""
    times = [record.serial, record.whole, record.python, *record.loader.values(), *record.undecoded.values()]
    times += record.transformed.values()
    times += [timed for size in record.scaling for timed in (size.exact, size.scaled)]

    assert all(len(timed.seconds) == 2 and min(timed.seconds) > 0 for timed in times)
    assert record.index.samples == IMAGENET
    assert record.index.bytes > 40 * IMAGENET
    assert [size.image_size for size in record.scaling] == [64, 112, 128, 160, 224]
    assert record.scaling[4].share == record.scaling[4].mean_error == 0 == record.scaling[4].largest_error
    assert set(record.transformed) == {"returns its image", "draws a number"}
    assert {1, 2} <= set(record.loader) == set(record.undecoded)
    assert min(record.undecoded[1].seconds) < min(record.loader[1].seconds)


@pytest.mark.slow
def test_a_promise_that_is_not_kept_is_reported_as_missed(record: ThreadedRecord) -> None:
    """By the median of the repeats; a promise without a measurement is neither met nor missed."""
    second = Timed(images=100, seconds=(1.0, 2.0, 1.0))
    kept = replace(
        record,
        serial=second,
        whole=Timed(images=100, seconds=(1.5, 3.0, 1.6)),
        loader={1: second, 2: Timed(images=100, seconds=(0.55, 1.1, 0.5))},
        python=Timed(images=100_000, seconds=(0.49, 0.49, 0.51)),
        transformed={"draws a number": Timed(images=100_000, seconds=(1.49, 2.49, 1.61))},
        peak_rss_bytes=None,
        index=replace(record.index, seconds=(0.9, 0.2, 1.1)),
        undecoded={1: second, 2: second},
    )
    missed = replace(kept, python=Timed(images=100_000, seconds=(0.49, 0.51, 0.51)), peak_rss_bytes=2**30)

    assert {finding.what: finding.met for finding in findings(kept)} == {
        **dict.fromkeys(("one thread, no loader", "loader, 2 threads")),
        **{f"DCT scaling, {size} px": None for size in (64, 112, 128, 160, 224)},
        **dict.fromkeys(("share of its ceiling", "2 threads against 1"), True),
        "Python per image, batch 256": True,
        "a sample transform that draws a number, per image": None,
        **{f"{count} threads against 1": None for count in (4, 8, 16)},
        **dict.fromkeys(WITHOUT),
        "tiles against whole images": True,
        "memory, batch 256 at 224 px": None,
        f"opening an index of {IMAGENET:,} samples": True,
        "size of that index on the disk": True,
    }
    assert "| Python per image, batch 256 | 5.1 us (4.9 to 5.1) | < 5 us | MISSED |" in table(missed)
    assert "| a sample transform that draws a number, per image | 11.0 us (10.0 to 20.0) | - |  |" in table(kept)
    assert "| 1074 MB | <= 1 GB | MISSED |" in table(missed)
    assert to_json(record)["format"] == "feedline-threaded"


def test_shards_without_restart_markers_are_refused(folders: Path, tmp_path: Path) -> None:
    """The message has the command that makes them."""
    write_shards(folders, ShardSpec(encode="copy"))
    with pytest.raises(MeasurementError, match=r"\d+ of 84 images have restart markers; .* --encode restart"):
        measure_threaded(folders, tmp_path / "record.json", images=5, repeats=1)


def test_an_existing_record_is_not_overwritten(tmp_path: Path) -> None:
    """The command ends with one message before it measures."""
    (tmp_path / "record.json").write_text("mine")
    command = [
        sys.executable,
        "-m",
        "feedline.benchmarks.claims.threaded",
        str(tmp_path),
        "--out",
        str(tmp_path / "record.json"),
    ]
    ended = subprocess.run(command, capture_output=True, text=True)

    assert ended.returncode == 1
    assert ended.stderr.startswith("feedline: ") and "exists already" in ended.stderr
    assert (tmp_path / "record.json").read_text() == "mine"


@pytest.mark.slow
def test_threads_that_the_machine_has_no_cores_for_are_named(record: ThreadedRecord) -> None:
    """Measured ones have their ratio and rate; the others say why they have none."""
    machine = replace(record.environment.machine, cpus=4)
    four = replace(
        record,
        environment=replace(record.environment, machine=machine),
        loader={count: Timed(images=100 * count, seconds=(1.0, 1.0)) for count in (1, 2, 4)},
        serial=Timed(images=100, seconds=(1.0, 1.0)),
        whole=Timed(images=100, seconds=(1.0, 1.0)),
    )

    assert "| 4 threads against 1 | 4.00 x (4.00 to 4.00); 400 images/s | - |  |" in table(four)
    assert "| 8 threads against 1 | not measured: the machine has 4 CPUs | - |  |" in table(four)
    assert "| 16 threads against 1 | not measured: the machine has 4 CPUs | - |  |" in table(four)


def test_undecoded_batches_leave_the_decoder_as_it_was(root: Path) -> None:
    """The call that decodes is back after the work, for the loaders that are measured next."""
    spec = LoaderSpec(root=root, image_size=32, batch_size=16, workers=1)
    threaded.prepare()
    with ThreadedLoader(spec) as loader, ThreadedLoader(spec) as other:
        expected = [batch.images for batch in other]
        assert load_undecoded(loader, 1)(0) > 0
        other.set_epoch(0)
        assert all(torch.equal(batch.images, one) for batch, one in zip(other, expected, strict=True))
