"""The stages of a loader, run one after the other, make the samples that the loader makes."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch

from feedline.loaders import LOADERS, LoaderSpec, Stages, open_loader, open_stages
from feedline.loaders.pixels.reference import draws_of
from feedline.loaders.support.encoded import EncodedImage
from feedline.loaders.support.samples import FolderSamples, open_samples
from feedline.prep import LoaderError

from .contract import require_loader, spec_of

STAGED = [name for name, entry in LOADERS.items() if entry.stages]
BEHIND_ONE_CALL = [name for name, entry in LOADERS.items() if not entry.stages]
BY_INDEX = ["imagefolder", "threaded"]


def made_by(stages: Stages, indexes: list[int], spec: LoaderSpec) -> torch.Tensor:
    """Return one batch of epoch 0, uint8 (N, H, W, 3)."""
    images = torch.empty((len(indexes), spec.image_size, spec.image_size, 3), dtype=torch.uint8)
    samples = [
        stages.transform(stages.decode(stages.fetch(index), draws), draws, row)
        for index, draws, row in zip(indexes, draws_of(indexes, 0, spec), images, strict=True)
    ]
    return stages.collate(samples, images)


def staged(
    name: str, indexes: list[int], spec: LoaderSpec, read: Callable[[int], EncodedImage] | None = None
) -> torch.Tensor:
    stages = open_stages(name, spec, read)
    assert stages is not None
    with closing(stages):
        return made_by(stages, indexes, spec)


@pytest.mark.parametrize("transform", ["train", "eval"])
@pytest.mark.parametrize("name", BY_INDEX)
def test_stages_make_the_loaders_own_batches(name: str, transform: str, root: Path) -> None:
    """Bit for bit, over an epoch with the odd files that Pillow decodes."""
    spec = spec_of(root, transform=transform)
    with closing(open_loader(name, spec)) as loader:
        for batch in loader:
            expected = batch.images.permute(0, 2, 3, 1)

            assert torch.equal(staged(name, batch.indexes.tolist(), spec), expected)


def test_stages_of_webdataset_read_the_shards_from_front_to_back(root: Path) -> None:
    """Whatever the index; over the whole split they are the images that the loader yields."""
    spec = spec_of(root, transform="eval")
    with closing(open_loader("webdataset", spec)) as loader:
        expected = [image for batch in loader for image in batch.images.permute(0, 2, 3, 1)]
    made = staged("webdataset", [0] * len(expected), spec)

    assert sorted(image.numpy().tobytes() for image in made) == sorted(image.numpy().tobytes() for image in expected)


@pytest.mark.parametrize("name", STAGED)
def test_stages_take_images_from_memory(name: str, root: Path, tmp_path: Path) -> None:
    """The images that ``read`` returns replace those of the root, which need not exist."""
    with closing(FolderSamples(root, "train")) as samples:
        images = [samples.read(index) for index in range(20)]
    made = staged(name, list(range(20)), spec_of(tmp_path / "nowhere"), images.__getitem__)
    tolerance = 0 if name != "threaded" else 1
    expected = staged("imagefolder", list(range(20)), spec_of(root))

    assert (made.int() - expected.int()).abs().max() <= tolerance


@pytest.mark.parametrize("name", BEHIND_ONE_CALL)
def test_a_library_behind_one_call_has_no_stages(name: str, root: Path) -> None:
    """None, and no error."""
    assert open_stages(name, spec_of(root)) is None


def test_stages_of_an_unknown_loader_are_refused(root: Path) -> None:
    """With the names that there are."""
    with pytest.raises(LoaderError, match="no loader 'dally'; choose one of: imagefolder, webdataset"):
        open_stages("dally", spec_of(root))


@pytest.mark.parametrize("name", [name for name, entry in LOADERS.items() if not entry.takes_samples])
def test_loaders_that_read_by_themselves_take_no_samples(name: str, root: Path) -> None:
    """They never ignore the samples that a caller gives them; the message names the loader that takes them."""
    require_loader(name)
    with (
        closing(open_samples(root, "train")) as samples,
        pytest.raises(LoaderError, match=f"{name} reads only the samples of its root; choose one of: threaded"),
    ):
        open_loader(name, spec_of(root), samples=samples)


@pytest.mark.parametrize("name", ["imagefolder", "webdataset"])
def test_stages_import_no_other_loaders_libraries(name: str, root: Path) -> None:
    """Neither numba nor simplejpeg is imported where another loader is measured."""
    script = (
        "import sys; from pathlib import Path; from feedline.benchmarks.measuring import child;"
        "from feedline.loaders import LoaderSpec, open_stages;"
        f"open_stages({name!r}, LoaderSpec(root=Path({str(root)!r}))).close();"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert f"feedline.loaders.{name}" in done.stdout.split()
    assert not {"numba", "simplejpeg", "feedline.loaders.threaded"} & set(done.stdout.split())
