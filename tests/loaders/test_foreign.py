"""Every loader that reads shards trains on those of other tools: same samples, labels and pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch

from feedline.loaders import Batch, LoaderSpec, open_loader, readable_loaders
from feedline.loaders.pixels.reference import draws_of, read_pixels
from feedline.prep import SampleError, prepare_webdataset, verify

from ..prep.foreign_shards import image, sample, write_folder_keys, write_img2dataset, write_tar, write_timm, write_w21

NAMES = ["jpg", "JPG", "jpeg", "JPEG", "png", "PNG", "webp", "ppm", "bmp", "gif", "tif", "tiff", "input.jpg", "a.b.png"]


def batches(name: str, root: Path, **options: object) -> Batch:
    """Return an epoch of a loader as one batch in the order of sample indexes."""
    spec = LoaderSpec(root=root, batch_size=4, image_size=24, **options)  # type: ignore[arg-type]
    loader = open_loader(name, spec)
    try:
        held = list(loader)
    finally:
        loader.close()
    indexes = torch.cat([batch.indexes for batch in held])
    order = indexes.argsort()
    images = torch.cat([batch.images for batch in held])[order].contiguous(memory_format=torch.channels_last)
    columns = {key: [value for batch in held for value in batch.columns[key]] for key in held[0].columns}
    columns = {key: [values[place] for place in order.tolist()] for key, values in columns.items()}
    return Batch(images, torch.cat([batch.labels for batch in held])[order], indexes[order], columns)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of shards with one image under each of the names that images have."""
    place = tmp_path_factory.mktemp("wds")
    members = [
        member
        for number, extension in enumerate(NAMES)
        for member in sample(f"{number:02d}", {extension: _data(number, extension), "cls": str(number % 3)})
    ]
    write_tar(place / "train-0.tar", members[:14])
    write_tar(place / "train-1.tar", members[14:])
    prepare_webdataset([place], place / "data")
    return place / "data"


def _data(number: int, extension: str) -> bytes:
    return image(number, extension.rpartition(".")[2])


def loaders() -> list[str]:
    return [name for name in ("webdataset", "threaded", "dali") if _is_installed(name)]


def _is_installed(name: str) -> bool:
    from feedline.loaders.table import loader_versions
    from feedline.prep import LoaderUnavailable

    try:
        loader_versions(name)
    except LoaderUnavailable:
        return False
    return True


@pytest.mark.parametrize("name", loaders())
@pytest.mark.parametrize("transform", ["train", "eval"])
def test_images_of_every_name_have_the_reference_pixels(name: str, transform: str, named: Path) -> None:
    """Upper case and dotted extensions too; each sample once, with its label."""
    found = batches(name, named, transform=transform)
    assert found.indexes.tolist() == list(range(len(NAMES)))
    assert found.labels.tolist() == [number % 3 for number in range(len(NAMES))]
    spec = LoaderSpec(root=named, image_size=24, transform=transform)  # type: ignore[arg-type]
    for number, draws in enumerate(draws_of(list(range(len(NAMES))), 0, spec)):
        expected = read_pixels(_data(number, NAMES[number]), draws, spec)
        difference = np.abs(found.images[number].permute(1, 2, 0).numpy().astype(int) - expected.astype(int))
        # DALI's resize repeats the border, where Pillow averages over the pixels that exist.
        assert np.median(difference) <= 1 and difference.mean() < 3, NAMES[number]


@pytest.mark.parametrize("name", loaders())
def test_loaders_agree_on_the_layouts_of_real_data_sets(name: str, tmp_path: Path) -> None:
    """The labels and columns of timm's, img2dataset's and folder-keyed shards."""
    prepare_webdataset([write_timm(tmp_path / "timm")], tmp_path / "a")
    found = batches(name, tmp_path / "a", columns=("filename",))
    assert found.labels.tolist() == [number % 3 for number in range(12)]
    assert found.columns["filename"][:2] == ["n01440764_0.JPEG", "n01443537_1.JPEG"]

    prepare_webdataset([write_w21(tmp_path / "w21")], tmp_path / "b")
    assert batches(name, tmp_path / "b", split="val").labels.tolist() == [0, 7, 19166]

    place = write_img2dataset(tmp_path / "laion")
    prepare_webdataset([place], tmp_path / "c", label_from="json:kind", split_from={"laion": "train"})
    found = batches(name, tmp_path / "c", columns=("caption", "tags"))
    assert found.labels.tolist() == [(1, 2, 0)[number % 3] for number in range(10)]  # Käfer, cat, dog
    assert found.columns["caption"][4] == "a dog, number 4"
    assert found.columns["tags"][2] == {"animal": "Käfer", "id": 2}

    prepare_webdataset([write_folder_keys(tmp_path / "keys")], tmp_path / "d", label_from="folder")
    assert batches(name, tmp_path / "d", split="val").labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("name", loaders())
@pytest.mark.parametrize("workers", [0, 2])
def test_classes_of_shards_of_other_tools_are_chosen(name: str, workers: int, named: Path, tmp_path: Path) -> None:
    """The classes stand in any order there; labels stay those of the manifest, and images and columns their own."""
    whole, found = batches(name, named), batches(name, named, classes=(2, 0), workers=workers)
    kept = [number for number in range(len(NAMES)) if number % 3 != 1]
    assert found.indexes.tolist() == kept and found.labels.tolist() == [number % 3 for number in kept]
    assert torch.equal(found.images, whole.images[kept])

    place = write_img2dataset(tmp_path / "laion")
    prepare_webdataset([place], tmp_path / "c", label_from="json:kind", split_from={"laion": "train"})
    found = batches(name, tmp_path / "c", columns=("caption",), classes=("dog",))
    assert found.indexes.tolist() == [1, 4, 7] and set(found.labels.tolist()) == {2}
    assert found.columns["caption"][1] == "a dog, number 4"


@pytest.mark.parametrize("name", loaders())
def test_the_image_that_was_chosen_is_loaded(name: str, tmp_path: Path) -> None:
    """Of samples with several."""
    members = [
        member
        for number in range(4)
        for member in sample(f"{number}", {"mask.png": image(9, "png"), "Input.JPG": image(number), "cls": "0"})
    ]
    write_tar(tmp_path / "wds" / "train-0.tar", members)
    prepare_webdataset([tmp_path / "wds"], tmp_path / "data", image_extension="input.jpg")
    assert verify(tmp_path / "data", decode=True).ok
    one = batches(name, tmp_path / "data", transform="eval")
    write_tar(tmp_path / "jpg" / "train-0.tar", [m for m in members if "mask" not in m[0]])
    prepare_webdataset([tmp_path / "jpg"], tmp_path / "other")
    assert torch.equal(one.images, batches(name, tmp_path / "other", transform="eval").images)


@pytest.mark.parametrize("workers", [0, 2])
def test_webdataset_reads_the_labels_of_the_index_in_its_workers(workers: int, tmp_path: Path) -> None:
    """Two epochs, whatever the workers; an index of other samples is an error that names the sample."""
    place = write_folder_keys(tmp_path / "wds")
    prepare_webdataset([place], tmp_path / "data", label_from="folder", split_from={})
    prepare_webdataset([write_timm(tmp_path / "timm", shards=4)], tmp_path / "many")
    found = batches("webdataset", tmp_path / "many", workers=workers)
    assert found.labels.tolist() == [number % 3 for number in range(24)]

    path = tmp_path / "many" / "shards" / "imagenet1k-train-0000.index"
    path.write_bytes((tmp_path / "many" / "shards" / "imagenet1k-train-0001.index").read_bytes())
    with pytest.raises(SampleError, match=r"in place of b'n.*feedline verify"):
        batches("webdataset", tmp_path / "many", workers=workers)


def test_readable_loaders_of_a_root_of_foreign_shards(named: Path) -> None:
    """All that read shards; imagefolder needs class folders."""
    found = readable_loaders(named)
    assert set(loaders()) <= set(found) and "imagefolder" not in found
