"""The program whose epochs are disturbed: ``python -m feedline.benchmarks.faults.epochs LOADER ROOT``.

It prints a line of JSON for each batch: the samples with their labels, keys, checksums of pixels and means of cells;
or the error, as a line of JSON too, with exit code 1. After the first epoch, which is not disturbed, it prints READY.
Damaged samples are skipped, so an epoch goes on after most faults.
"""

import gc
import json
import os
import sys
import time
import zlib
from contextlib import closing
from pathlib import Path

import psutil
from torch.nn.functional import adaptive_avg_pool2d

from ...loaders import Batch, Loader, LoaderSpec, open_loader
from ...prep import FeedlineError

READY = "READY"
EPOCHS = 5
CELLS = 4
"""Rows and columns of the means of each image."""
PAUSE_SECONDS = 0.02
"""Between two batches, so that a fault meets a batch under way and not only the ends."""


def main(loader: str, root: Path) -> None:
    """Print what five epochs yield; or the error, as a line of JSON too, with exit code 1."""
    spec = LoaderSpec(root=root, batch_size=4, image_size=32, workers=2, seed=3, on_error="skip")
    try:
        _run_epochs(loader, spec, range(1))
        before = _in_use()
        kept = os.open(os.devnull, os.O_RDONLY)  # else the files could not be counted when no more can be opened
        print(READY, flush=True)
        _run_epochs(loader, spec, range(1, EPOCHS))
        os.close(kept)
        after = _in_use()
    except (FeedlineError, MemoryError) as error:
        _print({"error": f"{type(error).__name__}: {error}"})
        sys.exit(1)
    _print({"left": max(0, after[0] - before[0]), "grown": after[1] - before[1]})


def _run_epochs(name: str, spec: LoaderSpec, epochs: range) -> None:
    """Print these epochs, and close the loader."""
    with closing(open_loader(name, spec)) as loader:
        for epoch in epochs:
            loader.set_epoch(epoch)
            _print_epoch(loader, epoch)


def _in_use() -> tuple[int, int]:
    """Return the open file descriptors and the bytes of own memory."""
    gc.collect()
    process = psutil.Process()
    return process.num_fds(), process.memory_full_info().uss


def _print_epoch(loader: Loader, epoch: int) -> None:
    for batch in loader:
        _print({"epoch": epoch, "samples": _samples(batch)})
        time.sleep(PAUSE_SECONDS)
    _print({"ended": epoch, "skipped": sorted(loader.skipped)})


def _samples(batch: Batch) -> list[tuple[int, int, str, int, list[float]]]:
    sums = [zlib.crc32(image.contiguous().numpy().tobytes()) for image in batch.images]
    means = adaptive_avg_pool2d(batch.images.float(), CELLS).round().flatten(1).tolist()
    return list(zip(batch.indexes.tolist(), batch.labels.tolist(), batch.keys, sums, means, strict=True))


def _print(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":  # DataLoader's workers import this module again where they are spawned
    main(sys.argv[1], Path(sys.argv[2]))
