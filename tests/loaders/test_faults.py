"""What loaders do when something goes wrong, and what they leave behind: damage, early ends, memory, real processes."""

import gc
import json
import logging
import shutil
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from feedline.cli.main import run
from feedline.loaders import LOADERS, Loader, loader_versions, open_loader, readable_loaders
from feedline.loaders.support import shard_samples
from feedline.prep import (
    MANIFEST,
    SHARDS,
    DatasetError,
    LoaderError,
    LoaderUnavailable,
    SampleError,
    read_manifest,
    write_document,
)

from .contract import COVERING, require_loader, spec_of

OF_FOLDERS = [name for name in COVERING if LOADERS[name].needs != "shards"]
SAMPLES = 84
BOUND = 20 * 2**20  # bytes that 20 epochs may add
HERE = psutil.Process()


@pytest.fixture(params=COVERING)
def name(request: pytest.FixtureRequest) -> str:
    """Every installed loader whose epoch is each sample once."""
    return require_loader(request.param)


@pytest.fixture(params=OF_FOLDERS)
def folder_name(request: pytest.FixtureRequest) -> str:
    """Every installed loader that can read class folders."""
    return require_loader(request.param)


@pytest.fixture
def broken(name: str, root: Path, tmp_path: Path) -> Path:
    """A copy of the prepared root with the head of one image overwritten, where the loader reads it."""
    copy = Path(shutil.copytree(root, tmp_path / "data"))
    if LOADERS[name].needs == "folders":
        target, start = sorted((copy / "train").rglob("*.JPEG"))[7], 0
    else:
        target, start = sorted((copy / SHARDS).glob("*-train-*.tar"))[2], 512
    with target.open("r+b") as file:
        file.seek(start)
        file.write(b"not an image at all" * 8)
    return copy


def indexes_of(loader: Loader) -> list[list[int]]:
    return [batch.indexes.tolist() for batch in loader]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_sample_is_named(name: str, workers: int, broken: Path) -> None:
    """One sentence with the file, not a worker's traceback; and the workers can be closed after it."""
    with closing(open_loader(name, spec_of(broken, workers=workers))) as loader:
        with pytest.raises(SampleError, match=r"cannot decode .*n\d{8}_\d+.* feedline verify .* --decode") as caught:
            list(loader)

        assert "Traceback" not in str(caught.value)
        assert loader.skipped == {}


@pytest.mark.parametrize("workers", [0, 2])
def test_skipping_leaves_out_the_damaged_sample_and_moves_nothing(
    name: str, workers: int, broken: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its batch is one smaller, len and order stay; it is named by the loader and in the log, once in two epochs."""
    with (
        closing(open_loader(name, spec_of(root))) as whole,
        closing(open_loader(name, spec_of(broken, workers=workers, on_error="skip"))) as loader,
        caplog.at_level(logging.WARNING, "feedline.loaders"),
    ):
        for _ in range(2):
            expected, actual = indexes_of(whole), indexes_of(loader)
            (damaged,) = loader.skipped

            assert len(actual) == len(loader) == len(expected)
            assert actual == [[index for index in batch if index != damaged] for batch in expected]
        (text,) = loader.skipped.values()
        assert text.startswith(("n", str(broken)))
        assert [record.getMessage() for record in caplog.records] == [f"skipped {text}"]


def test_resuming_counts_skipped_samples_as_handed_out(name: str, broken: Path) -> None:
    """The state after each batch continues with the next one, wherever the damaged sample was."""
    with closing(open_loader(name, spec_of(broken, on_error="skip"))) as loader:
        states = [loader.state_dict() for _ in loader]
        loader.set_epoch(0)
        batches = indexes_of(loader)
        for done in range(1, len(states)):
            loader.load_state_dict(states[done - 1])

            assert indexes_of(loader) == batches[done:]


def test_a_batch_of_nothing_but_damage_is_an_error(name: str, broken: Path) -> None:
    """Even when skipping: an empty batch would have no mean loss."""
    with (
        closing(open_loader(name, spec_of(broken, batch_size=1, on_error="skip"))) as loader,
        pytest.raises(SampleError, match="all 1 samples of a batch are damaged"),
    ):
        list(loader)


def test_a_loop_may_ask_for_batches_without_samples(name: str, broken: Path) -> None:
    """Then a batch of nothing but damage comes in its turn, without samples, and its transform is not called."""
    called: list[int] = []

    def count(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        called.append(len(labels))
        return images, labels

    spec = spec_of(broken, batch_size=1, on_error="skip", empty_batches=True, batch_transform=count)
    with closing(open_loader(name, spec)) as loader:
        sizes = [len(batch.labels) for batch in loader]

        assert sorted(sizes) == [0, *called]
        assert len(sizes) == len(loader)


def test_a_truncated_image_is_damaged(folder_name: str, folders: Path) -> None:
    """libjpeg-turbo would fill the rest with grey; no loader lets that pass."""
    target = sorted((folders / "train").rglob("*.JPEG"))[7]
    target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])
    with (
        closing(open_loader(folder_name, spec_of(folders, transform="eval"))) as loader,
        pytest.raises(SampleError, match=target.stem),
    ):
        list(loader)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_vanished_file_is_named(folder_name: str, workers: int, folders: Path) -> None:
    """A file deleted behind the loader's back is one damaged sample, as on a share that is gone."""
    target = sorted((folders / "train").rglob("*.JPEG"))[7]
    with closing(open_loader(folder_name, spec_of(folders, workers=workers))) as loader:
        target.unlink()
        with pytest.raises(SampleError, match=target.stem):
            list(loader)


def test_files_that_are_no_samples_are_ignored_by_every_loader(folder_name: str, folders: Path) -> None:
    """Whatever systems and programs leave in class folders and next to them; an image too many is refused by all."""
    with closing(open_loader(folder_name, spec_of(folders))) as loader:
        before = [(batch.indexes.tolist(), batch.labels.tolist()) for batch in loader]
    place = next(path for path in sorted((folders / "train").iterdir()))
    for name in (".DS_Store", "Thumbs.db", "._x.JPEG", ".x.jpg", "x.psd", "README", "../.DS_Store", "../@eaDir/y.jpg"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"stranger")
    for name in (".ipynb_checkpoints", "@eaDir", "thumbnails"):
        (place / name).mkdir()
        (place / name / "x.JPEG").write_bytes(b"stranger")
    with closing(open_loader(folder_name, spec_of(folders))) as loader:
        assert [(batch.indexes.tolist(), batch.labels.tolist()) for batch in loader] == before

    shutil.copy(next(place.glob("n*.JPEG")), place / "more.JPEG")
    with pytest.raises(DatasetError, match=r"has 85 images.* 84; .*feedline verify"):
        open_loader(folder_name, spec_of(folders))


def test_a_class_without_images_keeps_its_index_in_every_loader(folder_name: str, folders: Path) -> None:
    """A class that only val has lacks its folder in train, or has an empty one."""
    manifest = read_manifest(folders)
    victim, train = folders / "train" / manifest.classes[1].id, manifest.splits["train"]
    shutil.rmtree(victim)
    counts = {"images": train.images - train.per_class[1], "per_class": (21, 0, 21, 21)}
    splits = {**manifest.splits, "train": replace(train, **counts)}
    write_document(folders / MANIFEST, replace(manifest, splits=splits))
    for make in (lambda: None, victim.mkdir):
        make()
        with closing(open_loader(folder_name, spec_of(folders))) as loader:
            labels = sorted(label for batch in loader for label in batch.labels.tolist())
        assert labels == [0] * 21 + [2] * 21 + [3] * 21


@pytest.fixture
def old_shards(root: Path, tmp_path: Path) -> Path:
    """A root whose shards were written before the class folders got a further class."""
    copy = Path(shutil.copytree(root, tmp_path / "grown"))
    manifest = read_manifest(copy)
    (copy / "train" / "n00000001").mkdir()
    first = replace(manifest.classes[0], id="n00000001", name="more")
    splits = {name: replace(split, per_class=(0, *split.per_class)) for name, split in manifest.splits.items()}
    splits = {name: split if name != "test" else manifest.splits[name] for name, split in splits.items()}
    write_document(copy / MANIFEST, replace(manifest, classes=(first, *manifest.classes), splits=splits))
    return copy


def test_old_shards_are_refused_by_every_loader_that_reads_them(name: str, old_shards: Path) -> None:
    """Their class indexes mean other classes than those of the class folders; imagefolder reads the folders."""
    if LOADERS[name].needs == "folders":
        with closing(open_loader(name, spec_of(old_shards))) as loader:
            assert sum(len(batch.indexes) for batch in loader) == SAMPLES
    else:
        with pytest.raises(LoaderError, match=r"the shards have 4 classes and the class folders 5; .* feedline shard "):
            open_loader(name, spec_of(old_shards))


def test_no_loader_is_chosen_for_old_shards(old_shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither by `--loader auto` nor by bench; without the shards the class folders are read."""
    assert run(["train", str(old_shards), "--out", str(old_shards / "run"), "--epochs", "1", "--device", "cpu"]) == 1
    assert "the shards have 4 classes and the class folders 5" in " ".join(capsys.readouterr().err.split())
    assert run(["bench", str(old_shards), "--out", str(old_shards / "bench")]) == 1
    assert "the shards have 4 classes and the class folders 5" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(LoaderError, match="the shards have 4 classes"):
        readable_loaders(old_shards)
    (old_shards / SHARDS).rename(old_shards / "old")
    assert "imagefolder" in readable_loaders(old_shards)


def test_a_gpu_that_is_not_there_is_refused(name: str, root: Path) -> None:
    """Before the loader's library fails in its own words."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(LoaderError, match="no GPU here for device 'cuda'; use --device cpu"):
        open_loader(name, spec_of(root, device="cuda"))


def open_and_close(name: str, root: Path, batches: int) -> None:
    loader = open_loader(name, spec_of(root, workers=2))
    for _ in zip(range(batches), loader, strict=False):
        pass
    loader.close()
    loader.close()


def open_and_stumble(name: str, root: Path) -> None:
    """The traceback keeps the iteration alive while the loader is closed."""
    loader = open_loader(name, spec_of(root, workers=2))
    with pytest.raises(ZeroDivisionError) as caught:
        for batch in loader:
            1 / (batch.indexes.shape[0] - 10)
    loader.close()
    assert caught.traceback


def traces(root: Path) -> dict[str, object]:
    """What a loader could leave: processes, threads, files and mappings of the data, shared memory."""
    gc.collect()
    shared = Path("/dev/shm")
    mappings = {mapping.path for mapping in HERE.memory_maps()} if hasattr(HERE, "memory_maps") else set[str]()
    return {
        "processes": {child.pid for child in HERE.children(recursive=True)},
        "threads": HERE.num_threads(),
        "files": [file.path for file in HERE.open_files() if Path(file.path).is_relative_to(root)],
        "mappings": [path for path in mappings if Path(path).is_relative_to(root) and not path.endswith(".index")],
        "shared memory": {path.name for path in shared.iterdir()} if shared.is_dir() else set[str](),
    }


def test_close_leaves_nothing(name: str, root: Path) -> None:
    """Whether the epoch was never begun, left early, finished, or ended by the consumer's own error."""
    open_and_close(name, root, 1000)  # starts the threads that torch keeps for itself
    before = traces(root)
    for batches in (0, 2, 1000):
        open_and_close(name, root, batches)
    open_and_stumble(name, root)
    deadline = time.monotonic() + 10  # a queue's feeder thread ends a moment after the queue
    while traces(root) != before and time.monotonic() < deadline:
        time.sleep(0.1)

    assert traces(root) == before


def test_batches_outlive_their_loader(name: str, root: Path) -> None:
    """Images handed out are the consumer's: later batches and close() do not write into them."""
    with closing(open_loader(name, spec_of(root, workers=2))) as loader:
        held = [(batch.images, batch.images.clone()) for batch in loader]
        list(loader)

    assert all(torch.equal(images, copy) for images, copy in held)


@pytest.mark.slow
def test_memory_stays_flat(name: str, root: Path) -> None:
    """Over 20 epochs, whose images together take 82 MB, processes included, it grows by less than a quarter."""
    with closing(open_loader(name, spec_of(root, workers=2, image_size=128))) as loader:

        def after(epochs: int) -> int:
            for _ in range(epochs):
                # Summing reads every pixel: shared memory counts only where it was touched.
                assert sum(len(batch.indexes) for batch in loader if batch.images.sum() > 0) == SAMPLES
            gc.collect()
            return sum(process.memory_info().rss for process in (HERE, *HERE.children(recursive=True)))

        sizes = [after(4), after(20)]  # caches and allocators fill
        if sizes[1] - sizes[0] > BOUND:  # on a busy machine some fill later; a leak grows again
            sizes.append(after(20))

    assert sizes[-1] - sizes[-2] < BOUND


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's count of a mapping's resident pages")
def test_mapped_shards_do_not_fill_the_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of shards that were read do not count as the process's for ever, however large the data set is."""

    def least_resident(let_go: int) -> int:
        """Return the fewest bytes that are resident after a batch, once each image was read.

        Right after a release it is little, right before one it may be most of such small shards: Linux maps 64 KB
        around each image.
        """
        monkeypatch.setattr(shard_samples, "LET_GO", let_go)
        with closing(open_loader("threaded", spec_of(root, workers=2))) as loader:
            assert len([index for batch in loader for index in batch.indexes]) == SAMPLES
            return min(resident() for _ in range(3) for _ in loader)

    def resident() -> int:
        return sum(mapping.rss for mapping in HERE.memory_maps() if mapping.path.endswith(".tar"))

    everything = least_resident(2**62)

    assert everything > 500_000
    assert least_resident(everything // 8) < everything // 2


RANK = """
import json, sys
from contextlib import closing
from pathlib import Path
from feedline.loaders import LoaderSpec, open_loader

if __name__ == "__main__":
    root, rank, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    found = {}
    for name in names:
        spec = LoaderSpec(root=root, batch_size=10, image_size=32, seed=5, rank=rank, world_size=2, workers=1)
        with closing(open_loader(name, spec)) as loader:
            found[name] = [[batch.indexes.tolist(), batch.labels.tolist()] for batch in loader]
    print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_ranks_in_two_processes_share_an_epoch(root: Path, tmp_path: Path) -> None:
    """Side by side, with nothing said between them: each sample once, and one label per sample."""
    names = [name for name in COVERING if is_installed(name)]
    script = tmp_path / "rank.py"
    script.write_text(RANK, encoding="utf-8")
    commands = [[sys.executable, str(script), str(root), str(rank), *names] for rank in range(2)]
    ranks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    found = [json.loads(rank.communicate(timeout=300)[0]) for rank in ranks]

    for name in names:
        batches = [batch for rank in found for batch in rank[name]]
        assert sorted(index for indexes, _ in batches for index in indexes) == list(range(SAMPLES))
        assert all(label == index // 21 for pair in batches for index, label in zip(*pair, strict=True))


def is_installed(name: str) -> bool:
    try:
        loader_versions(name)
    except LoaderUnavailable:
        return False
    return True
