"""Random numbers for orders, crops and flips, computed without generator state.

A loader that draws from a running generator yields other data with other workers, other ranks or after a resume.
Here every number is a hash of (seed, epoch, sample index, draw), so none of these changes it. The hash is
SplitMix64's finaliser (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014) in numpy.
It is the same on every platform and numpy version; numpy does not promise this for the methods of its Generator.
"""

from collections.abc import Generator
from functools import cached_property

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

BLOCK = 1 << 22
"""Numbers of a long permutation that are sorted at a time, about: 32 MB."""
PASSES = 64
"""Blocks of a permutation at most. Each costs one pass over the hashes of all numbers, some 5 ns for each."""
# Numbers that are hashed at a time, in the cache of a core: all at once would be written to memory five times.
_PIECE = 1 << 15
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
# Their inverses modulo 2^64.
_UNMIX1 = np.uint64(pow(0xBF58476D1CE4E5B9, -1, 2**64))
_UNMIX2 = np.uint64(pow(0x94D049BB133111EB, -1, 2**64))


def mix(values: U64) -> U64:
    """Return SplitMix64's output for each 64-bit state, a bijection that maps close values far apart."""
    with np.errstate(over="ignore"):
        state = values + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _MIX1
        state = (state ^ (state >> np.uint64(27))) * _MIX2
        return state ^ (state >> np.uint64(31))


def key_of(*parts: int) -> np.uint64:
    """Return one 64-bit key for a tuple of integers, such as (seed, epoch): a hash by SplitMix64's function."""
    key = np.zeros(1, np.uint64)
    for part in parts:
        key = mix(key ^ mix(np.array([part % 2**64], np.uint64)))
    return key[0]


def permutation(count: int, *parts: int) -> I64:
    """Return the numbers 0 to ``count`` - 1 in a random order that depends on ``parts`` only, int64 (count,).

    It is the order of their hashes, SplitMix64's outputs (Steele, Lea, Flood, OOPSLA 2014) for the numbers and
    ``parts``. ``mix`` is a bijection, so the sorted hashes say which numbers they belong to.
    """
    key = key_of(*parts)
    hashes = np.empty(count, np.uint64)
    for first in range(0, count, _PIECE):
        last = min(first + _PIECE, count)
        hashes[first:last] = mix(np.arange(first, last, dtype=np.uint64) ^ key)
    return _numbers_of(hashes, key)


class LongPermutation:
    """``permutation(count, *parts)`` in blocks, for more numbers than each process can hold.

    The hashes are divided into ranges of equal width, and one range is collected and sorted at a time. So the memory
    is that of a block: 4 million numbers, or a 64th of them if that is more.
    """

    def __init__(self, count: int, *parts: int) -> None:
        self._count, self._parts = count, parts
        self._key = key_of(*parts)
        wanted = min(PASSES, -(-count // BLOCK))
        self._bits = max(wanted - 1, 0).bit_length()

    def __len__(self) -> int:
        return self._count

    def blocks(self, first: int = 0) -> Generator[I64]:
        """Yield the numbers from position ``first`` on, int64, a block at a time."""
        if not self._bits:
            yield permutation(self._count, *self._parts)[first:]
            return
        begin = 0
        for block, length in enumerate(self._lengths.tolist()):
            if first < begin + length:
                yield self._block(block, length)[max(first - begin, 0) :]
            begin += length

    @cached_property
    def _lengths(self) -> I64:
        """The length of each block."""
        found = np.zeros(1 << self._bits, np.int64)
        for _, blocks in self._pieces():
            found += np.bincount(blocks, minlength=len(found))
        return found

    def _block(self, block: int, length: int) -> I64:
        hashes, end = np.empty(length, np.uint64), 0
        for piece, blocks in self._pieces():
            held = piece[blocks == block]
            hashes[end : end + len(held)] = held
            end += len(held)
        return _numbers_of(hashes, self._key)

    def _pieces(self) -> Generator[tuple[U64, I64]]:
        """Yield the hashes of all numbers, and the block of each."""
        shift = np.uint64(64 - self._bits)
        for first in range(0, self._count, _PIECE):
            hashes = mix(np.arange(first, min(first + _PIECE, self._count), dtype=np.uint64) ^ self._key)
            yield hashes, (hashes >> shift).astype(np.int64)


def _numbers_of(hashes: U64, key: np.uint64) -> I64:
    """Sort ``hashes``, and replace them by the numbers that they were made of with ``key``."""
    hashes.sort()
    for first in range(0, len(hashes), _PIECE):
        piece = hashes[first : first + _PIECE]
        piece[:] = _unmix(piece) ^ key
    return hashes.view(np.int64)


def _unmix(values: U64) -> U64:
    """Return the states for which ``mix`` returns ``values``."""
    with np.errstate(over="ignore"):
        state = values ^ (values >> np.uint64(31)) ^ (values >> np.uint64(62))
        state = state * _UNMIX2
        state = state ^ (state >> np.uint64(27)) ^ (state >> np.uint64(54))
        state = state * _UNMIX1
        state = state ^ (state >> np.uint64(30)) ^ (state >> np.uint64(60))
        return state - _GOLDEN


def uniforms(indexes: npt.NDArray[np.int64], draws: int, *parts: int) -> npt.NDArray[np.float64]:
    """Return float64 (N, draws) in [0, 1); row i depends on ``indexes[i]`` and ``parts`` only.

    They are the high 53 bits of SplitMix64's outputs (Steele, Lea, Flood, OOPSLA 2014).
    """
    with np.errstate(over="ignore"):
        rows = mix(indexes.astype(np.uint64) ^ key_of(*parts))[:, None]
        states = mix(rows + np.arange(draws, dtype=np.uint64) * _GOLDEN)
    return (states >> np.uint64(11)).astype(np.float64) * 2.0**-53
