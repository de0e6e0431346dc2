"""What the loops of torch users do with a loader: each habit has one meaning, the same for every loader."""

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import dataloader

from feedline.loaders import Batch, Loader, LoaderSpec
from feedline.loaders.support.damage import Damage
from feedline.prep import LoaderError, list_samples, read_manifest

from .contract import GPU, SIZE, open_named, spec_of


@pytest.fixture(params=[0, 2])
def loader(request: pytest.FixtureRequest, name: str, root: Path, opened: list[Loader]) -> Loader:
    """Each loader, without workers and with two."""
    opened.append(open_named(name, spec_of(root, workers=request.param)))
    return opened[-1]


@pytest.fixture
def epochs(name: str, root: Path, opened: list[Loader]) -> list[list[list[int]]]:
    """The sample indexes of the batches of epochs 0, 1 and 2, each chosen by ``set_epoch``."""
    reference = open_named(name, spec_of(root))
    opened.append(reference)
    found: list[list[list[int]]] = []
    for epoch in range(3):
        reference.set_epoch(epoch)
        found.append([batch.indexes.tolist() for batch in reference])
    return found


def indexes_of(batch: Batch) -> list[int]:
    return batch.indexes.tolist()


def test_a_loop_that_counts_steps_sees_every_epoch(loader: Loader, epochs: list[list[list[int]]]) -> None:
    """It never asks for StopIteration, as next() len times, zip with a range first, or islice do."""
    first = iter(loader)
    assert [indexes_of(next(first)) for _ in range(len(loader))] == epochs[0]
    assert [indexes_of(batch) for _, batch in zip(range(len(loader)), loader, strict=False)] == epochs[1]
    assert [indexes_of(batch) for batch in itertools.islice(loader, len(loader))] == epochs[2]


def test_a_state_saved_after_the_last_batch_is_the_next_epoch(
    name: str, root: Path, loader: Loader, epochs: list[list[list[int]]], opened: list[Loader]
) -> None:
    """Also before the loop asks for StopIteration."""
    batches = iter(loader)
    for _ in range(len(loader)):
        next(batches)
    state = loader.state_dict()
    assert next(batches, None) is None
    assert loader.state_dict() == state

    resumed = open_named(name, spec_of(root))
    opened.append(resumed)
    resumed.load_state_dict(state)
    assert [indexes_of(batch) for batch in resumed] == epochs[1]


def test_an_epoch_left_early_is_not_repeated(loader: Loader, epochs: list[list[list[int]]]) -> None:
    """``limit_train_batches`` of Lightning, and ``break`` after N steps: other batches each time."""
    for epoch in range(3):
        assert [indexes_of(batch) for batch in itertools.islice(loader, 2)] == epochs[epoch][:2]


def test_an_iterator_that_yielded_nothing_uses_up_no_epoch(loader: Loader, epochs: list[list[list[int]]]) -> None:
    """Some trainers make one to see whether it works."""
    iter(loader)
    iter(loader)
    assert [indexes_of(batch) for batch in loader] == epochs[0]


def test_a_state_is_continued_after_a_break(
    name: str, root: Path, loader: Loader, epochs: list[list[list[int]]], opened: list[Loader]
) -> None:
    """The state of an epoch that was left is that of its last batch, not of the next epoch."""
    for _ in itertools.islice(loader, 3):
        pass
    resumed = open_named(name, spec_of(root))
    opened.append(resumed)
    resumed.load_state_dict(loader.state_dict())
    assert [indexes_of(batch) for batch in resumed] == epochs[0][3:]
    assert [indexes_of(batch) for batch in resumed] == epochs[1]


def test_the_older_of_two_iterators_raises(loader: Loader, epochs: list[list[list[int]]]) -> None:
    """It would share workers and position with the newer one, so that each would cover a part."""
    older = iter(loader)
    assert indexes_of(next(older)) == epochs[0][0]
    newer = iter(loader)
    with pytest.raises(LoaderError, match="has ended, because a new iteration of the loader was begun"):
        next(older)
    assert [indexes_of(batch) for batch in newer] == epochs[1]
    with pytest.raises(LoaderError, match="a new iteration"):
        list(zip(loader, loader, strict=True))


def test_a_nested_loop_raises_in_the_outer_one(loader: Loader) -> None:
    """Instead of ending it early without a word."""
    with pytest.raises(LoaderError, match="a new iteration"):
        for _ in loader:
            for _ in loader:
                pass


@pytest.mark.parametrize("what", ["set_epoch", "load_state_dict", "close"])
def test_what_moves_a_loader_ends_its_iteration(what: str, loader: Loader) -> None:
    """An iterator that went on would count its batches for another epoch."""
    batches, state = iter(loader), loader.state_dict()
    next(batches)
    {"set_epoch": lambda: loader.set_epoch(3), "load_state_dict": lambda: loader.load_state_dict(state)}.get(
        what, loader.close
    )()
    with pytest.raises(LoaderError, match=f"has ended, because .*{'closed' if what == 'close' else what}"):
        next(batches)


def test_a_closed_loader_says_so(loader: Loader) -> None:
    """Its length and state stay readable; it closes twice, and a with block closes it."""
    with loader as same:
        assert same is loader
        next(iter(loader))
    loader.close()
    with pytest.raises(LoaderError, match="is closed; open it again"):
        iter(loader)
    assert len(loader) == 9
    assert loader.state_dict()["samples"] == 10


def test_an_interrupted_loop_can_be_run_again(
    loader: Loader, epochs: list[list[list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell that was stopped by Ctrl-C while it waited for a batch, and run again."""
    batches = iter(loader)
    next(batches)
    with monkeypatch.context() as patched:
        patched.setattr(Damage, "admit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(batches)
    assert [indexes_of(batch) for batch in loader] == epochs[1]


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["dali"])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("method", ["schedule_run", "share_outputs", "release_outputs"])
def test_ctrl_c_inside_dali(
    name: str, method: str, workers: int, root: Path, opened: list[Loader], epochs: list[list[list[int]]]
) -> None:
    """DALI counts what it was given and what was taken; the next iteration does not wait for what never comes."""
    loader = open_named(name, spec_of(root, workers=workers))
    opened.append(loader)
    next(iter(loader))
    for calls in (before, after):
        with pytest.MonkeyPatch.context() as patched:
            from nvidia.dali.pipeline import Pipeline

            patched.setattr(Pipeline, method, calls(getattr(Pipeline, method)))
            batches = iter(loader)
            with pytest.raises(KeyboardInterrupt):
                next(batches)
    loader.set_epoch(1)
    found: list[list[int]] = []
    waiting = threading.Thread(target=lambda: found.extend(map(indexes_of, loader)), daemon=True)
    waiting.start()
    waiting.join(60)
    assert found == epochs[1]


def before(method: Callable[..., Any]) -> Callable[..., Any]:
    return interrupted


def after(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> None:
        method(*given, **named)
        raise KeyboardInterrupt

    return call


@pytest.mark.parametrize("name", ["imagefolder", "webdataset"])
def test_ctrl_c_while_worker_processes_begin_again(
    name: str, root: Path, opened: list[Loader], epochs: list[list[list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's queues then hold answers that no request waits for; the next iteration has other workers.

    The interrupt is raised where DataLoader waits. A real signal could also end logging with its lock held.
    """
    loader = open_named(name, spec_of(root, workers=2))
    opened.append(loader)
    list(loader)
    with monkeypatch.context() as patched:
        patched.setattr(dataloader._MultiProcessingDataLoaderIter, "_try_get_data", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(iter(loader))
    opened[0].set_epoch(1)
    assert [indexes_of(batch) for batch in loader] == epochs[1]


def test_a_batch_is_what_torch_users_expect(name: str, loader: Loader, root: Path) -> None:
    """It unpacks, moves, is made contiguous, and has keys."""
    samples = {sample.key: sample for sample in list_samples(root, read_manifest(root), "train")}
    batch = next(iter(loader))
    images, labels = batch

    assert images is batch.images and labels is batch.labels
    assert images.to("cpu").shape == (10, 3, SIZE, SIZE)
    assert batch.to("cpu").images.is_contiguous(memory_format=torch.channels_last)
    moved = batch.to(torch.device("meta"))
    assert moved.images.device.type == moved.labels.device.type == "meta" and moved.indexes.device.type == "cpu"
    flat, same = batch.contiguous()
    assert flat.view(10, -1).shape == (10, 3 * SIZE * SIZE) and torch.equal(flat, images) and same is labels
    assert [samples[key].label for key in batch.keys] == labels.tolist() and len(set(batch.keys)) == 10
    with pytest.raises(LoaderError, match="not made by a loader"):
        _ = Batch(images, labels, batch.indexes).keys


def test_a_loader_is_what_torch_users_expect(loader: Loader, root: Path) -> None:
    """Its classes, batch size and data set."""
    manifest = read_manifest(root)
    assert loader.classes == tuple(entry.id for entry in manifest.classes)
    assert loader.batch_size == 10
    assert len(loader.dataset) == 84

    seen = {index: (image, label) for batch in loader for index, image, label in
            zip(batch.indexes.tolist(), batch.images, batch.labels.tolist(), strict=True)}  # fmt: skip
    loader.set_epoch(0)
    for index in (7, 83):
        image, label = loader.dataset[index]
        assert image.shape == (3, SIZE, SIZE) and image.dtype == torch.uint8 and image.is_contiguous()
        assert label == seen[index][1]
        assert (image.float() - seen[index][0].float()).abs().mean() < 6  # another decoder, scaled in the DCT
    assert torch.equal(loader.dataset[-1][0], loader.dataset[83][0])
    with pytest.raises(IndexError):
        loader.dataset[84]


def test_an_epoch_leaves_torchs_random_numbers_alone(loader: Loader) -> None:
    """The same MixUp for every loader; numpy's and Python's generators too."""
    torch.manual_seed(3)
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    for _ in loader:
        pass
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpys  # type: ignore[index, union-attr]


def test_the_default_device_is_the_models_not_the_loaders(
    name: str, root: Path, opened: list[Loader], epochs: list[list[list[int]]]
) -> None:
    """``torch.set_default_device`` changes where a script makes its tensors."""
    torch.set_default_device("meta")
    try:
        for workers in (0, 1):
            opened.append(open_named(name, spec_of(root, workers=workers)))
            batches = list(opened[-1])
            assert {batch.images.device.type for batch in batches} == {"cpu"}
            assert [indexes_of(batch) for batch in batches] == epochs[0]
    finally:
        torch.set_default_device(None)


def test_a_relative_root_is_found_after_chdir(
    name: str, root: Path, opened: list[Loader], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Hydra and others change the working directory after the loader was opened."""
    monkeypatch.chdir(root.parent)
    opened.append(open_named(name, spec_of(Path(root.name).absolute() if name == GPU else Path(root.name), workers=1)))
    monkeypatch.chdir(tmp_path)
    assert sum(len(batch.indexes) for batch in opened[0]) == 84
    assert opened[0].dataset[0][1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_gets_an_error(name: str, loader: Loader, epochs: list[list[list[int]]]) -> None:
    """Instead of waiting for workers that a fork does not copy; the parent goes on."""
    batches = iter(loader)
    next(batches)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            loader.close()
            iter(loader)
        except LoaderError as error:
            status = 0 if "opened by another process" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [indexes_of(batch) for batch in batches] == epochs[0][1:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transform": "Train"}, "transform must be one of 'train', 'eval', 'resize', got 'Train'"),
        ({"transform": None}, "transform must be one of"),
        ({"transform": lambda image: image}, "transform must be one of"),
        ({"on_error": "Raise"}, "on_error must be one of 'raise', 'skip', got 'Raise'"),
        ({"on_error": "ignore"}, "on_error must be one of"),
        ({"decode": "GPU"}, "decode must be one of"),
        ({"workers": None}, "workers must be an integer, got None"),
        ({"workers": True}, "workers must be an integer, got True"),
        ({"seed": None}, "seed must be an integer, got None"),
        ({"batch_size": 8.0}, r"batch_size must be an integer, got 8\.0"),
        ({"image_size": (224, 224)}, r"image_size must be an integer, got \(224, 224\)"),
        ({"shuffle": "no"}, "shuffle must be True or False, got 'no'"),
        ({"drop_last": 1}, "drop_last must be True or False, got 1"),
        ({"root": None}, "root must be a path or a URL, got None"),
        ({"root": ""}, "root must be a path or a URL, got ''"),
        ({"split": None}, "split must be a name, got None"),
        ({"device": "gpu"}, "device must be a device of torch.*got 'gpu'"),
        ({"device": 0}, "device must be a device of torch.*got 0"),
        ({"rank": "0", "world_size": 1}, "rank must be an integer"),
        ({"rank": -2, "world_size": 1}, "rank must be at least -1"),
        ({"rank": 0, "world_size": 0}, "world_size must be at least 1"),
    ],
)
def test_a_field_of_another_type_is_refused(change: dict[str, Any], message: str) -> None:
    """Never taken for a default."""
    with pytest.raises(LoaderError, match=message):
        LoaderSpec(**{"root": Path("data"), **change})


def test_what_is_unambiguous_is_taken() -> None:
    """A root as text, a torch.device, integers of numpy."""
    spec = spec_of("data", device=torch.device("cuda", 1), batch_size=np.int64(8), seed=np.uint8(3))  # type: ignore[arg-type]
    assert spec == spec_of(Path("data"), device="cuda:1", batch_size=8, seed=3)
    assert replace(spec, workers=2).root == Path("data")


def test_presets_are_those_of_training_and_evaluation() -> None:
    """Further fields replace theirs."""
    train, val = LoaderSpec.train("data", batch_size=32), LoaderSpec.eval("data", split="test")
    assert (train.split, train.transform, train.shuffle, train.drop_last, train.batch_size) == (
        "train", "train", True, True, 32)  # fmt: skip
    assert (val.split, val.transform, val.shuffle, val.drop_last) == ("test", "eval", False, False)


def test_rank_and_world_size_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under torchrun, before or after init_process_group; otherwise all ranks would get the same samples."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert (spec_of(Path("data")).rank, spec_of(Path("data")).world_size) == (2, 3)
    alone = spec_of(Path("data"), rank=0, world_size=1)
    assert (alone.rank, alone.world_size) == (0, 1)
    with pytest.raises(LoaderError, match="rank is given without world_size; give both"):
        spec_of(Path("data"), rank=0)


GLOO = """
import sys, torch.distributed as dist
from feedline import LoaderSpec
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
spec = LoaderSpec(root="data")
assert (spec.rank, spec.world_size) == (int(sys.argv[2]), 2), spec
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_rank_and_world_size_are_those_of_torch_distributed(tmp_path: Path) -> None:
    """Of the default process group."""
    ranks = [subprocess.Popen([sys.executable, "-c", GLOO, str(tmp_path / "store"), str(rank)]) for rank in range(2)]
    assert [rank.wait(120) for rank in ranks] == [0, 0]


def test_uneven_ranks_are_reported(
    name: str, root: Path, opened: list[Loader], caplog: pytest.LogCaptureFixture
) -> None:
    """84 samples over 2 ranks in batches of 14 are 3 and 3 batches; over 5 ranks in batches of 4, 5 and 4."""
    for batch_size, world_size, uneven in ((14, 2, False), (4, 5, True)):
        caplog.clear()
        lengths: set[int] = set()
        for rank in range(world_size):
            opened.append(open_named(name, spec_of(root, batch_size=batch_size, rank=rank, world_size=world_size)))
            lengths.add(len(opened[-1]))
        assert (len(lengths) > 1) == uneven
        assert ("drop_last=True" in caplog.text) == uneven
