"""The contract of all loaders over {no transform, a sample transform, a batch transform}, and the docs' script."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.transforms import v2

from feedline.loaders import Batch, Loader, Normalise
from feedline.prep import SampleError

from ..contract import DCT, GPU, open_named, spec_of

MIX = v2.Compose([Normalise(), v2.MixUp(num_classes=4)])
OWN: dict[str, dict[str, Any]] = {
    "none": {},
    "sample": {"sample_transform": v2.RandAugment()},
    "batch": {"batch_transform": MIX},
    "both": {"sample_transform": v2.ColorJitter(0.5, 0.5, 0.5, 0.1), "batch_transform": MIX},
    "decoded": {"image_size": None},
    "decoded, then cropped": {"image_size": None, "sample_transform": v2.RandomCrop(20, pad_if_needed=True)},
}


@pytest.fixture(params=OWN)
def own(request: pytest.FixtureRequest, name: str) -> dict[str, Any]:
    """The fields of a spec, where the loader can honour them."""
    fields = OWN[request.param]
    if "decoded" in request.param and "," in name:
        pytest.skip("these make samples of one size")
    if "decoded" in request.param and name == "dali":
        pytest.skip("refused, see test_fields.py")
    if "sample_transform" in fields and name == GPU:
        pytest.skip("refused, see test_fields.py")
    return fields


def same(first: Batch, second: Batch) -> bool:
    """Return whether two batches are equal, bit for bit."""
    if isinstance(first.images, list):
        images = all(torch.equal(a, b) for a, b in zip(first.images, second.images, strict=True))
    else:
        images = torch.equal(first.images, second.images)
    return images and torch.equal(first.labels, second.labels) and torch.equal(first.indexes, second.indexes)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(name: str, own: dict[str, Any], workers: int, root: Path, opened: list[Loader]) -> None:
    """Two epochs are equal, bit for bit, and differ from one another; torch's global generator does not move."""
    opened += [open_named(name, spec_of(root, workers=count, **own)) for count in (0, workers)]
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    epochs = [[batch for _ in range(2) for batch in loader] for loader in opened]

    assert all(same(a, b) for a, b in zip(*epochs, strict=True))
    assert not same(epochs[0][0], epochs[0][len(opened[0])])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_resume_gives_the_very_next_batch(name: str, own: dict[str, Any], root: Path, opened: list[Loader]) -> None:
    """The state counts what the loop got, though a batch transform is one batch ahead."""
    opened += [open_named(name, spec_of(root, workers=count, **own)) for count in (2, 1)]
    batches = iter(opened[0])
    for _ in range(3):
        next(batches)
    opened[1].load_state_dict(json.loads(json.dumps(opened[0].state_dict())))

    assert all(same(a, b) for a, b in zip(batches, opened[1], strict=True))
    assert same(next(iter(opened[0])), next(iter(opened[1])))


def test_a_transform_changes_with_the_seed_and_the_epoch_only(root: Path, opened: list[Loader]) -> None:
    """The same sample has the same numbers in another batch, on another rank and in the view."""

    def numbers(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.cat([torch.rand(2, generator=generator), torch.rand(2)])

    fields: dict[str, Any] = {"sample_transform": numbers}
    whole = open_named("threaded", spec_of(root, **fields))
    ranks = [open_named("threaded", spec_of(root, batch_size=7, rank=r, world_size=2, **fields)) for r in range(2)]
    other = open_named("threaded", spec_of(root, seed=6, **fields))
    opened += [whole, *ranks, other]
    view = {index: whole.dataset[index][0] for index in (0, 5, 83)}
    first, second, changed = (_by_index(loader) for loader in (whole, whole, other))
    spread = {index: found for loader in ranks for index, found in _by_index(loader).items()}

    assert all(torch.equal(first[index], spread[index]) for index in range(84))
    assert all(torch.equal(first[index], found) for index, found in view.items())
    assert (
        len({float(numbers) for found in (first, second, changed) for row in found.values() for numbers in row}) > 900
    )


def _by_index(loader: Loader) -> dict[int, torch.Tensor]:
    return {index: image for batch in loader for index, image in zip(batch.indexes.tolist(), batch.images, strict=True)}


def test_damaged_samples_are_skipped_before_transforms(name: str, folders: Path, opened: list[Loader]) -> None:
    """Their batch is one smaller, and on_error="raise" still names the file."""
    if name in (GPU, DCT) or name == "webdataset":
        pytest.skip("as threaded; the copy has no shards")
    spoiled = sorted((folders / "train").rglob("*.JPEG"))[2]
    spoiled.write_bytes(spoiled.read_bytes()[:40])
    fields: dict[str, Any] = {"workers": 2, "sample_transform": v2.RandAugment(), "batch_transform": MIX}
    opened += [open_named(name, spec_of(folders, on_error=word, **fields)) for word in ("skip", "raise")]

    assert sorted(index for batch in opened[0] for index in batch.indexes.tolist()) == [0, 1, *range(3, 84)]
    with pytest.raises(SampleError, match=re.escape(spoiled.name)):
        list(opened[1])


def test_a_closed_loader_leaves_no_thread(name: str, root: Path) -> None:
    """Also after an iteration that was left, or ended by an error, with a batch under way."""
    before = set(threading.enumerate())
    for _ in range(2):
        with open_named(name, spec_of(root, workers=2, batch_transform=MIX)) as loader:
            next(iter(loader))
            batches = iter(loader)
            next(batches)

    assert not {thread for thread in threading.enumerate() if "feedline" in thread.name} - before


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["imagefolder", "webdataset", "dali", "threaded"])
def test_the_script_in_the_docs_runs(loader: str, root: Path, tmp_path: Path) -> None:
    """RandAugment per sample and MixUp per batch: the same samples for 0, 1 and 4 workers, also after a resume."""
    page = (Path(__file__).parents[3] / "docs" / "loaders.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(\"\"\"Train with transforms.*?)```", page, re.DOTALL)
    assert len(script.splitlines()) <= 45
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    printed: set[str] = set()
    most = 4 if loader != "webdataset" else 1
    for workers, stop in (("0", "0"), ("1", "3"), (str(most), "4")):  # an epoch has 5 batches
        command = [sys.executable, "-W", "ignore", "script.py", str(root), loader, workers, stop]
        # One thread for the model: threads of several processes that wait for each other by spinning take minutes.
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=alone)
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)

    assert len(printed) == 1
    assert len(printed.pop().split()) > 2
