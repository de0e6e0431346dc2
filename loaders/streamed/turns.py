"""The turns of streams, as a worker reads, shuffles and decodes them with the webdataset library.

Each stream is one pipeline of the library over whole shards or parts of them.
"""

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import compress, islice, repeat
from pathlib import Path
from tarfile import TarError
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info
from webdataset.filters import shuffle
from webdataset.pipeline import DataPipeline
from webdataset.tariterators import group_by_keys, tar_file_expander

from ...prep import SHARDS, DatasetError, LoaderError, TransformError, key_of, permutation
from ...prep.images.opening import UNREADABLE
from ...prep.roots.places import shard_path
from ...prep.shards.current import current_shards, require_labels
from ...prep.shards.index import decoded_key, read_index
from ...prep.shards.read import is_part
from ...prep.shards.rules import rule_of
from ..pixels.reference import draws_of, read_pixels
from ..sampling.chosen import without_choice
from ..sampling.in_shards import ShardChoice
from ..spec import LoaderSpec
from ..store.ahead import InTurn
from ..support.damage import DamagedSample
from ..support.streams import ShardRange, Turn, ranges_of, rounds, share_of, stream_ranges
from ..transforms.calls import Raised
from ..transforms.samples import sample_transform_of
from .items import Answer, Filling

# Undecoded files in the shuffle buffer of each stream: 16 streams of 64 files of 115 kB are 118 MB per rank.
SHUFFLE_BUFFER = 64


class Turns(IterableDataset[Answer]):
    """The items that a worker yields: the turns of its streams, round after round.

    Worker w of W serves the streams w, w + W, w + 2W, ... Every worker yields equally many items. torch's DataLoader
    takes one item from each worker in turn, so it yields the streams in order, whatever W is.
    """

    def __init__(self, spec: LoaderSpec) -> None:
        self._spec = without_choice(spec)
        self._transform = sample_transform_of(spec)
        directory = spec.root / SHARDS
        manifest = current_shards(spec.root)
        if spec.split in manifest.splits:
            require_labels(spec.root, manifest, spec.split)
        self.choice = ShardChoice(spec, manifest)
        split = manifest.splits[spec.split]
        self._paths = [shard_path(directory, manifest, shard) for shard in split.shards]
        self._bytes = [shard.bytes for shard in split.shards]
        # Of shards of other tools the index has the classes, wherever they stand.
        self._homes = None if manifest.label_from is None else [directory / shard.name for shard in split.shards]
        self._rule = rule_of(manifest)
        self._sizes, self._streams = self.choice.sizes, self.choice.streams
        self._classes = len(manifest.classes)
        if spec.workers > self._streams:
            shards = sum(size > 0 for size in self._sizes)
            raise LoaderError(
                f"{shards} shards over {spec.world_size} ranks feed at most {self._streams} workers, "
                f"got {spec.workers}; use --workers {self._streams}, or shard again with a smaller --shard-size"
            )
        # Shared with the worker processes, which outlive an epoch: (epoch, samples already yielded).
        self._place: torch.Tensor = torch.zeros(2, dtype=torch.int64, device="cpu").share_memory_()

    def in_order(self) -> Iterator[dict[str, Any]]:
        """Yield the undecoded samples of all shards from front to back, without a shuffle buffer."""
        found = [ShardRange(shard, 0, size) for shard, size in enumerate(self._sizes) if size]
        with closing(self._in_turn(found)) as paths:
            yield from self._read(found, paths)

    def begin(self, epoch: int, skip: int) -> None:
        """Set what the next iteration yields: ``epoch``, without the first ``skip`` samples of this rank."""
        self._place[0], self._place[1] = epoch, skip

    def __iter__(self) -> Iterator[Answer]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        epoch, skip = self._place.tolist()
        ranges = stream_ranges(share_of(self.choice.samples, self._spec), self._streams)
        slots = -(-self._streams // workers) * workers
        open_streams: dict[int, Iterator[dict[str, Any]]] = {}
        with ExitStack() as opened:
            for turns in rounds([len(places) for places in ranges], self._spec.batch_size, skip):
                turns.extend(Turn(stream, 0, 0) for stream in range(self._streams, slots))
                own = turns[worker::workers]
                # Those of a round together: shards behind a URL are fetched for all of them before the first is read.
                for turn in own:
                    if turn.start < turn.stop and turn.stream not in open_streams:
                        stream = self._open(ranges[turn.stream], epoch, opened)
                        open_streams[turn.stream] = islice(stream, turn.start, None)
                for turn in own:
                    if turn.start == turn.stop:
                        yield None, []
                    else:
                        yield self._decode(open_streams[turn.stream], turn.stop - turn.start, epoch)

    def _open(self, places: range, epoch: int, opened: ExitStack) -> Iterator[dict[str, Any]]:
        """Return the undecoded samples of a stream in their shuffled order, which ``opened`` closes."""
        spec = self._spec
        order = permutation(len(self._sizes), spec.seed, epoch) if spec.shuffle else np.arange(len(self._sizes))
        rng = random.Random(int(key_of(spec.seed, epoch, places.start)))
        mixed = shuffle(SHUFFLE_BUFFER, initial=SHUFFLE_BUFFER, rng=rng) if spec.shuffle else None
        found = ranges_of(places, self._sizes, order)
        paths = opened.enter_context(closing(self._in_turn(found)))
        return iter(DataPipeline(partial(self._read, found, paths), mixed))

    def _in_turn(self, found: Sequence[ShardRange]) -> InTurn:
        return InTurn([self._paths[held.shard] for held in found])

    def _read(self, found: Sequence[ShardRange], paths: InTurn) -> Iterator[dict[str, Any]]:
        """Yield the samples of each range as the library groups them, each with its sample index."""
        for held, path in zip(found, paths, strict=True):
            yield from self._read_range(held, path)

    def _read_range(self, held: ShardRange, path: Path) -> Iterator[dict[str, Any]]:
        # The file is opened here because the library mistakes the drive letter of a Windows path for a URL scheme.
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != self._bytes[held.shard]:
                raise DatasetError(
                    f"{path} has {size} bytes instead of the {self._bytes[held.shard]} that its manifest lists, "
                    "so it was cut or written again"
                )
            members = tar_file_expander([{"url": str(path), "stream": file}], select_files=is_part)
            samples = compress(group_by_keys(members), self.choice.selectors(held).tolist())
            indexes = self.choice.indexes(held).tolist()
            for sample, index, row in zip(samples, indexes, self._rows(held), strict=False):
                yield self._known(sample, index, row)

    def _rows(self, held: ShardRange) -> Iterable[tuple[bytes, int] | None]:
        """Yield key and class index of each sample of the range by the index of its shard, None if not needed."""
        if self._homes is None:
            return repeat(None)
        selectors = self.choice.selectors(held)
        rows = read_index(self._homes[held.shard], self._paths[held.shard]).samples[: len(selectors)][selectors]
        return zip(rows["key"].tolist(), rows["label"].tolist(), strict=True)

    def _known(self, sample: dict[str, Any], index: int, row: tuple[bytes, int] | None) -> dict[str, Any]:
        """Return a sample with its sample index, its image, and its class index if the index has it."""
        if row is not None and decoded_key(row[0]) != sample["__key__"]:
            raise DatasetError(f"{sample['__url__']} has the sample {sample['__key__']!r} in place of {row[0]!r}")
        names = [name for name in sample if name[:2] != "__"]
        images = self._rule.images_among(names)
        known = {**sample, "__index__": index, "__label__": sample.get("cls") if row is None else row[1]}
        return {**known, "__image__": sample[names[images[0]]]} if len(images) == 1 else known

    def _decode(self, stream: Iterator[dict[str, Any]], count: int, epoch: int) -> Answer:
        try:
            samples = [next(stream) for _ in range(count)]
        except StopIteration:
            reason = "a shard has fewer samples than the manifest lists"
            return None, [DamagedSample(str(self._paths[0].parent), reason, None)]
        except (DatasetError, TarError, *UNREADABLE) as error:
            return None, [DamagedSample.of(str(self._paths[0].parent), error, None)]
        places = [sample["__index__"] for sample in samples]
        labels = torch.zeros(count, dtype=torch.int64, device="cpu")
        filling = Filling(count, self._spec, self._transform)
        seeds = self._transform.seeds(np.array(places), epoch) if self._transform else repeat(0)
        failures: list[DamagedSample | Raised] = []
        for row, (draws, seed) in enumerate(zip(draws_of(places, epoch, self._spec), seeds, strict=False)):
            sample = samples[row]
            name = partial("{0[__key__]} in {0[__url__]}".format, sample)
            try:
                pixels = read_pixels(self._image(sample), draws, self._spec)
                labels[row] = self._label(sample["__label__"])
            except UNREADABLE as error:
                failures.append(DamagedSample.of(name(), error, places[row]))
                continue
            try:
                filling.put(row, pixels, seed, name)
            except TransformError as error:
                if get_worker_info() is None:
                    raise
                return None, [Raised(error)]
        return (filling.images(), labels, torch.tensor(places, device="cpu")), failures

    def _image(self, sample: dict[str, Any]) -> bytes:
        if "__image__" not in sample:
            raise ValueError("the sample does not have one image")
        return sample["__image__"]

    def _label(self, text: bytes | int | None) -> int:
        if text is None:
            raise ValueError("the sample has no cls")
        label = int(text)
        if not 0 <= label < self._classes:
            raise ValueError(f"class {label} is not in 0..{self._classes - 1}")
        return label
