"""The shards that an epoch needs, fetched ahead of the loader, in the order in which it needs them.

A loader knows the order of its samples before it reads the first. So the first and the last place of each shard in the
epoch are known. A shard is fetched before its first sample comes, and may leave the cache after its last.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np
import numpy.typing as npt

from ...prep.base.origins import hold, let_go, origin_of
from .cache import NoRoom, open_cache
from .fetch import begin

I64 = npt.NDArray[np.int64]
WINDOW = 10**9
"""Bytes of the shards whose samples are mixed, and of those that are fetched ahead of them."""


class ReadAhead:
    """Fetches the shards of the rest of an epoch while it is read. One thread uses it."""

    def __init__(
        self,
        shards: Iterable[I64],
        sizes: Sequence[int],
        hold: Callable[[int, Event], None],
        let_go: Callable[[int], None],
    ) -> None:
        """Begin with the first shards.

        ``shards`` are the shards of the samples in the order of the epoch, in blocks; ``sizes`` the bytes of every one.
        ``hold`` fetches a shard and waits for it, unless the event says that it is not needed any more. ``let_go`` is
        called once for each that was held.
        """
        self._sizes, self._hold, self._let_go = sizes, hold, let_go
        self.ended = Event()
        """Set when the epoch ends."""
        self._waiting = [(first, last, shard) for shard, (first, last) in _spans(shards).items()][::-1]
        self._begun: dict[int, tuple[int, Future[None]]] = {}
        self._bytes, self._most = 0, min(2 * WINDOW, open_cache().limit() // 2)
        self.move(0, 0)

    def move(self, done: int, needed: int) -> None:
        """Let go of the shards of the first ``done`` samples, and begin to fetch those of the first ``needed``.

        Further shards are begun while all that are held have less than two windows of bytes, and half of the cache.
        """
        for shard in [shard for shard, (last, _) in self._begun.items() if last < done]:
            self._end(shard)
        while self._waiting:
            first, last, shard = self._waiting[-1]
            if first >= needed and self._bytes + self._sizes[shard] > self._most:
                return
            self._waiting.pop()
            self._bytes += self._sizes[shard]
            self._begun[shard] = last, begin(partial(self._hold, shard, self.ended))

    def close(self) -> None:
        """Let go of all shards, and fetch no more of those that are not here yet."""
        self.ended.set()
        self._waiting.clear()
        for shard in list(self._begun):
            self._end(shard)

    def _end(self, shard: int) -> None:
        _, task = self._begun.pop(shard)
        self._bytes -= self._sizes[shard]
        if not task.cancel():
            task.add_done_callback(partial(self._fetched, shard))

    def _fetched(self, shard: int, task: "Future[None]") -> None:
        if task.exception() is None:
            self._let_go(shard)


def _spans(shards: Iterable[I64]) -> dict[int, tuple[int, int]]:
    """Return the first and the last place of each shard, in the order of the first."""
    spans: dict[int, tuple[int, int]] = {}
    begin = 0
    for block in shards:
        found, first = np.unique(block, return_index=True)
        last = begin + len(block) - 1 - np.unique(block[::-1], return_index=True)[1]
        for place in np.argsort(first, kind="stable").tolist():
            shard = found.item(place)
            spans[shard] = spans.get(shard, (begin + first.item(place), 0))[0], last.item(place)
        begin += len(block)
    return spans


class InTurn:
    """Shards that are read one after the other: each is fetched while the one before it is read.

    One thread uses it. The first is fetched from the beginning, so that readers that are made together do not wait for
    each other's later shards.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Begin with the first of ``paths``, whose root is behind a URL or here."""
        self._waiting = deque(paths)
        self._is_far = bool(paths) and origin_of(paths[0]) is not None
        self._begun = deque[tuple[Path, Future[None]]]()
        self._ended = Event()
        self._begin(1)

    def __iter__(self) -> Iterator[Path]:
        """Yield each shard when it is here, and let go of it after its turn. Raises StoreError."""
        while not self._ended.is_set() and (path := self._next()) is not None:
            try:
                yield path
            finally:
                if self._is_far:
                    let_go(path)

    def close(self) -> None:
        """Fetch no more shards, and let go of those that were fetched for a later turn."""
        self._ended.set()
        while self._begun:
            path, task = self._begun.popleft()
            if not task.cancel():
                task.add_done_callback(partial(_let_go_if_held, path))

    def _next(self) -> Path | None:
        if not self._is_far:
            return self._waiting.popleft() if self._waiting else None
        self._begin(2)
        if not self._begun:
            return None
        path, task = self._begun[0]
        try:
            task.result()
        except NoRoom:  # the shards before it have made room meanwhile
            hold(path)
        self._begun.popleft()
        return path

    def _begin(self, count: int) -> None:
        while self._is_far and self._waiting and len(self._begun) < count:
            path = self._waiting.popleft()
            self._begun.append((path, begin(partial(_hold, path, self._ended))))


def _hold(path: Path, ended: Event) -> None:
    hold(path, ended)


def _let_go_if_held(path: Path, task: "Future[None]") -> None:
    if task.exception() is None:
        let_go(path)


def window_of(sizes: Sequence[int]) -> int:
    """Return how many shards behind a URL are mixed; 0 if all are, because they have few bytes.

    It depends on the manifest only, so the order of an epoch is the same on every machine.
    """
    if sum(sizes) <= WINDOW:
        return 0
    return max(2, WINDOW * len(sizes) // sum(sizes))
