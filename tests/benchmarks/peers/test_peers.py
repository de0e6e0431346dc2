"""Peers: equal work or no number, an environment for each, and a command for each that is missing.

The peers whose libraries this environment has are really run.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
import torch

from feedline.benchmarks import Expected, Plan, bench, measure
from feedline.benchmarks.measuring.process import MeasuringJob, MeasuringRun
from feedline.benchmarks.peers import PEERS, Contest, find_peers, how_to_install, install, suited
from feedline.benchmarks.peers.adapters.epochs import Item, PeerEpochs
from feedline.benchmarks.peers.conversions import images_of, peer_module
from feedline.benchmarks.peers.environments import RECEIPT, receipt_of
from feedline.benchmarks.peers.pixel_check import check_images
from feedline.cli.main import run as feedline
from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import (
    MeasurementError,
    SyntheticSpec,
    prepare_tiny_imagenet,
    write_document,
    write_shards,
    write_synthetic,
)

from ..runs import run_at

Change = Callable[[Item], Item]


@pytest.fixture(scope="module")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root of 64 images of 64 pixels, with shards."""
    place = tmp_path_factory.mktemp("tiny")
    write_synthetic(place, SyntheticSpec(layout="tiny-imagenet", classes=8, images_per_class=8))
    prepare_tiny_imagenet(place / "tiny-imagenet-200.zip", place / "data")
    write_shards(place / "data")
    return place / "data"


def is_installed_here(name: str) -> bool:
    """Whether this environment has what the peer pins, so that installing it fetches nothing."""
    try:
        return all(
            version(pin.partition(">=")[0]) if ">=" in pin else version(pin.split("==")[0]) == pin.split("==")[1]
            for pin in PEERS[name].requirements
        )
    except PackageNotFoundError:
        return False


def spec_of(root: Path, workers: int = 0) -> LoaderSpec:
    return LoaderSpec(root=root, batch_size=16, image_size=64, workers=workers)


def peer_of(root: Path, change: Change = lambda item: item) -> PeerEpochs:
    """Return a peer that yields the batches of `imagefolder`, changed."""
    loader = open_loader("imagefolder", spec_of(root))

    def begin(epoch: int) -> Iterator[Item]:
        loader.set_epoch(epoch)
        for batch in loader:
            yield change((batch.images.permute(0, 2, 3, 1), batch.labels, batch.indexes))

    return PeerEpochs(begin)


def first_half(item: Item) -> Item:
    half = len(item[1]) // 2
    return item[0][:half], item[1][:half], item[2][:half]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (first_half, "42 samples, 42 of them different, instead of 84"),
        (lambda item: (item[0], item[1], item[2] * 0 + item[2][0]), "labels sample"),
        (lambda item: (item[0], item[1].flip(0), item[2]), "labels sample"),
    ],
    ids=["too few", "repeated", "wrong labels"],
)
def test_a_peer_that_does_less_work_gets_no_number(root: Path, change: Change, complaint: str) -> None:
    """The measuring loop checks peers as it checks feedline's own loaders."""
    classes = np.repeat(np.arange(4, dtype=np.int64), 21)
    expected = Expected(samples=84, classes=classes, image_size=64)

    with pytest.raises(MeasurementError, match=complaint):
        measure(peer_of(root, change), expected, 0.5)


def test_real_crops_pass_for_images_of_their_files(root: Path) -> None:
    """A crop that is flipped and resized still has the colours of its own file."""
    check_images(peer_of(root), images_of(root, "train"))


def test_the_rest_of_an_epoch_that_the_timed_part_began_is_too_little_for_the_check(root: Path) -> None:
    """DALI's iterator goes on where it was left: the means of a sample or two lie far from those of their files."""
    loader = open_loader("imagefolder", spec_of(root))
    begun: list[int] = []

    def begin(epoch: int) -> Iterator[Item]:
        begun.append(epoch)
        for batch in loader:
            images = batch.images.permute(0, 2, 3, 1)
            if len(begun) == 1:
                yield images[:1] // 2, batch.labels[:1], batch.indexes[:1]
                return
            yield images, batch.labels, batch.indexes

    check_images(PeerEpochs(begin), images_of(root, "train"))

    assert begun == [0, 1]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda item: (item[0] * 0, *item[1:]), "grey levels off their files"),
        (lambda item: (item[0] // 255, *item[1:]), "grey levels off their files"),
        (lambda item: (item[0].roll(1, 0), *item[1:]), "from those of other files"),
        (lambda item: (item[0].flip(3), *item[1:]), "from their own in blue, green, red|off their files"),
    ],
    ids=["black", "scaled to 0 and 1", "the neighbour's", "blue for red"],
)
def test_a_peer_that_yields_other_images_gets_no_number(root: Path, change: Change, complaint: str) -> None:
    """A black batch takes less time than a decoded one, and so does a batch without the right labels."""
    with pytest.raises(MeasurementError, match=complaint):
        check_images(peer_of(root, change), images_of(root, "train"))


def test_peers_are_interleaved_with_ours_and_recorded_like_them(root: Path, tmp_path: Path) -> None:
    """In alternating order over both; with the versions, the command, and only worker counts that a peer supports."""
    asked: list[tuple[str, int]] = []

    def run(job: MeasuringJob, timeout: float) -> MeasuringRun:
        asked.append((job.loader, job.spec.workers))
        return run_at(100)

    peers = Contest(names=("torchvision", "tfdata"), envs=tmp_path / "envs", work=tmp_path / "work")
    plan = Plan(root=root, loaders=("imagefolder",), workers=(0, 2), repeats=2, peers=peers)
    result = bench(plan, tmp_path / "out", run=run)
    there = [("imagefolder", 0), ("imagefolder", 2), ("torchvision", 0), ("torchvision", 2), ("tfdata", 2)]

    assert asked == [*there, *reversed(there)]
    assert {row.loader for row in result.table.rows} == {"imagefolder", "torchvision", "tfdata"}
    assert result.records[0].environment.libraries["tensorflow-cpu"] == "2.21.0"
    assert result.records[0].command[-5:] == ("--peers", "--envs", str(peers.envs), "--work", str(peers.work))


def test_another_split_than_train_is_refused(root: Path, tmp_path: Path) -> None:
    """The documented training input of each is compared."""
    peers = Contest(names=("torchvision",), envs=tmp_path, work=tmp_path)

    with pytest.raises(MeasurementError, match="on the train split, not on 'val'"):
        Plan(root=root, split="val", peers=peers)


def test_without_any_peer_the_command_says_how_to_install_them(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is measured, because --peers requests them."""
    out = tmp_path / "out"

    assert feedline(["bench", str(root), "--peers", "--envs", str(tmp_path / "envs"), "--out", str(out)]) == 1
    assert "python -m feedline.benchmarks.peers install" in capsys.readouterr().err
    assert not out.exists()


def test_a_root_without_class_folders_is_refused(root: Path, tmp_path: Path) -> None:
    """A root with shards only has no files that a peer can read or convert."""
    with pytest.raises(MeasurementError, match=r"has no image files.*feedline prep imagefolder"):
        images_of(tmp_path, "train")


def test_pixels_of_large_images_are_not_stored(root: Path, tiny_root: Path) -> None:
    """A data set of photographs would be a hundred times its size; the others are measured on it all the same."""
    names = ("torchvision", "ffcv-raw", "tensor")

    assert suited(names, root) == (("torchvision",), ("ffcv-raw", "tensor"))
    assert suited(names, tiny_root) == (names, ())


def test_a_tensor_refuses_images_of_several_sizes(root: Path, tmp_path: Path) -> None:
    """The message names two of them."""
    with pytest.raises(MeasurementError, match=r"images of one size, and \S+ and \S+ have \d+ x \d+"):
        peer_module("tensor").convert(images_of(root, "train"), tmp_path)


@pytest.mark.parametrize("name", ["tensor", "tensor-batched"])
def test_a_tensor_crops_as_the_reference_does(name: str, tiny_root: Path, tmp_path: Path) -> None:
    """All samples come once with their label and their image, and another epoch has other crops."""
    samples, options = images_of(tiny_root, "train"), PEERS[name].options
    peer_module(name).convert(samples, tmp_path, **options)
    spec = replace(spec_of(tiny_root, workers=2), batch_size=7)
    threads = torch.get_num_threads()
    try:
        epochs = peer_module(name).open_peer(spec, samples, tmp_path, **options)
        classes = np.array([sample.label for sample in samples])
        measure(epochs, Expected(samples=len(samples), classes=classes, image_size=64), 0.2)
        check_images(epochs, samples)
        first, second = (torch.cat([batch.images for batch in epochs]) for _ in range(2))
    finally:
        torch.set_num_threads(threads)

    assert first.shape == (len(samples), 3, 64, 64) and not torch.equal(first, second)


@pytest.mark.slow
def test_an_environment_for_other_pins_counts_as_missing(tmp_path: Path) -> None:
    """Its figures would be those of another version than in the table."""
    receipt = install("torchvision", tmp_path)
    place = tmp_path / "torchvision" / RECEIPT

    assert find_peers(tmp_path)[0] == ("torchvision",)
    write_document(place, replace(receipt, requirements=("torchvision==0.1",)))
    assert receipt_of("torchvision", tmp_path) is None
    write_document(place, replace(receipt, shared=(str(tmp_path),)))
    assert find_peers(tmp_path)[0] == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_can_be_installed_offline_is_measured(
    name: str, root: Path, tiny_root: Path, tmp_path: Path
) -> None:
    """Installed, converted, run in its own interpreter with 1 worker: every sample, its label and its image."""
    root = tiny_root if PEERS[name].stores_pixels else root
    if not is_installed_here(name):
        pytest.skip(f"{name} is not here; see it with: {how_to_install([name], Path('peers'))}")
    install(name, tmp_path / "envs")
    peers = Contest(names=(name,), envs=tmp_path / "envs", work=tmp_path / "work")
    read = peers.files(name, root)
    found = peers.run(MeasuringJob(loader=name, spec=spec_of(root, workers=1), seconds=0.5), 120)
    cost = peers.conversion(name, root)

    assert found.measurement.samples_seen >= len(images_of(root, "train"))
    assert found.measurement.images_per_second > 0
    assert (cost is not None) == PEERS[name].converts
    assert sum(path.stat().st_size for path in read) >= sum(sample.size for sample in images_of(root, "train"))


@pytest.mark.slow
def test_the_command_measures_what_is_installed_and_names_what_is_missing(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One peer and one of feedline's loaders, in one table."""
    envs = tmp_path / "envs"
    install("torchvision", envs)
    short = ["--workers", "0", "--seconds", "0.2", "--repeats", "1", "--image-size", "64", "--loader", "imagefolder"]
    places = ["--envs", str(envs), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]

    assert feedline(["bench", str(root), "--peers", "--json", *short, *places]) == 0
    printed = capsys.readouterr()
    assert {row["loader"] for row in json.loads(printed.out)["results"]} == {"imagefolder", "torchvision"}
    assert "Missing peers: dali-reader, ffcv" in printed.err
    assert "torchvision: workers are processes; reads class folders" in printed.err
