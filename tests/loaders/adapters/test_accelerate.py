"""Accelerate's loop on a root: prepare, states in mid-epoch, gradient accumulation, two processes."""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from feedline.loaders import Loader, LoaderSpec, open_loader
from feedline.prep import LoaderError

from ...processes import finished

accelerate: Any = pytest.importorskip("accelerate")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

FIELDS: dict[str, Any] = {"batch_size": 10, "image_size": 16, "seed": 5}


@pytest.fixture
def accelerator() -> Iterator[Any]:
    """An Accelerator on the CPU that adds up the gradients of 3 batches."""
    yield accelerate.Accelerator(cpu=True, gradient_accumulation_steps=3)
    accelerate.state.AcceleratorState._reset_state(True)


@pytest.fixture
def prepared(accelerator: Any, root: Path, opened: list[Loader]) -> Any:
    """Prepares loaders of the train split."""
    from feedline.loaders.adapters.accelerate import AccelerateDataLoader

    def prepares(**fields: Any) -> Any:
        opened.append(open_loader("threaded", LoaderSpec.train(root, **{**FIELDS, **fields})))
        loader = AccelerateDataLoader(opened[-1])
        assert accelerator.prepare(loader) is loader
        return loader

    return prepares


@pytest.fixture(scope="module")
def epochs(root: Path) -> list[list[int]]:
    """The sums over the pixels of the batches of epochs 0 to 2."""
    with open_loader("threaded", LoaderSpec.train(root, **FIELDS)) as loader:
        return [[int(batch.images.sum()) for batch in loader] for _ in range(3)]


def sums(batches: Any) -> list[int]:
    return [int(images.sum()) for images, _ in batches]


def test_a_state_in_mid_epoch_goes_on_with_the_very_next_batch(
    accelerator: Any, prepared: Any, epochs: list[list[int]], tmp_path: Path
) -> None:
    """save_state keeps the position, and load_state takes it up in another process' Accelerator."""
    loader = prepared()
    assert sums(loader) == epochs[0]
    assert sums(itertools.islice(loader, 3)) == epochs[1][:3]
    accelerator.save_state(str(tmp_path / "state"))
    accelerator.free_memory()

    resumed = prepared()
    accelerator.load_state(str(tmp_path / "state"))
    assert sums(resumed) == epochs[1][3:]
    assert sums(resumed) == epochs[2]


def test_skip_first_batches_skips_from_the_beginning_of_the_epoch(
    accelerator: Any, prepared: Any, epochs: list[list[int]], tmp_path: Path
) -> None:
    """With a position that was loaded, or only with the epoch's number; Accelerate's examples do both."""
    loader = prepared()
    loader.set_epoch(1)
    assert sums(accelerator.skip_first_batches(loader, 3)) == epochs[1][3:]
    loader.set_epoch(1)
    next(iter(loader))
    accelerator.save_state(str(tmp_path / "state"))
    accelerator.load_state(str(tmp_path / "state"))
    assert sums(accelerator.skip_first_batches(loader, 1)) == epochs[1][1:]


def test_gradients_are_applied_at_the_end_of_an_epoch(accelerator: Any, prepared: Any) -> None:
    """8 batches, each 3 add up: the last 2 too, although the loop never asks for StopIteration."""
    loader, model = prepared(), accelerator.prepare(torch.nn.Linear(3, 4))
    synchronised: list[bool] = []
    for _ in range(2):
        for images, _ in itertools.islice(loader, len(loader)):
            with accelerator.accumulate(model):
                model(images.float().mean((2, 3)))
                synchronised.append(accelerator.sync_gradients)
    assert synchronised == [False, False, True, False, False, True, False, True] * 2


def test_another_rank_is_refused(root: Path, accelerator: Any, opened: list[Loader]) -> None:
    """A spec that was made before the Accelerator has no rank."""
    from feedline.loaders.adapters.accelerate import AccelerateDataLoader

    opened.append(open_loader("threaded", LoaderSpec.train(root, **FIELDS, rank=1, world_size=2)))
    with pytest.raises(LoaderError, match=r"rank 1 of 2, this process is 0 of 1; make the Accelerator before"):
        AccelerateDataLoader(opened[-1])


SCRIPT = """
import json, sys, torch
from accelerate import Accelerator
from feedline.loaders import LoaderSpec, open_loader
from feedline.loaders.adapters.accelerate import AccelerateDataLoader

root, out = sys.argv[1:]
accelerator = Accelerator(cpu=True)
fields = {"batch_size": 10, "image_size": 16, "seed": 5}
train = AccelerateDataLoader(open_loader("threaded", LoaderSpec.train(root, **fields)))
val = AccelerateDataLoader(open_loader("threaded", LoaderSpec.eval(root, **fields | {"split": "train"})))
model, train, val = accelerator.prepare(torch.nn.Linear(3, 4), train, val)
seen = []
for step, (images, labels) in enumerate(train):
    torch.nn.functional.cross_entropy(model(images.float().mean((2, 3))), labels).backward()
    seen.append(int(images.sum()))
    if step == 1:
        accelerator.save_state(f"{out}/state")
        accelerator.wait_for_everyone()
accelerator.load_state(f"{out}/state")
resumed = [int(images.sum()) for images, _ in train]
gathered = [accelerator.gather_for_metrics(images.sum((1, 2, 3))).tolist() for images, _ in val]
with open(f"{out}/{accelerator.process_index}.json", "w") as file:
    json.dump([seen, resumed, gathered], file)
accelerator.end_training()
"""


def test_two_processes_share_an_epoch(root: Path, tmp_path: Path) -> None:
    """Nothing is split again, a state is taken up, and gather_for_metrics returns each sample once."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launch, str(script), str(root), str(tmp_path)]
    done = finished(command)
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text("utf-8")) for rank in range(2)]
    for rank, (seen, resumed, _) in enumerate(ranks):
        with open_loader("threaded", LoaderSpec.train(root, **FIELDS, rank=rank, world_size=2)) as loader:
            assert seen == [int(batch.images.sum()) for batch in loader]
        assert resumed == seen[2:]
    with open_loader("threaded", LoaderSpec.eval(root, **{**FIELDS, "split": "train"})) as loader:
        wanted = [total for batch in loader for total in batch.images.sum((1, 2, 3)).tolist()]
    assert ranks[0][2] == ranks[1][2]
    assert sorted(itertools.chain(*ranks[0][2])) == sorted(wanted)
