"""Random numbers for orders, crops and flips, computed without generator state.

A loader that draws from a running generator yields other data with other workers, other ranks or after a resume.
Here every number is a hash of (seed, epoch, sample index, draw), so none of these changes it. The hash is
SplitMix64's finaliser (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014) in numpy.
It is the same on every platform and numpy version; numpy does not promise this for the methods of its Generator.
"""

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


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


def permutation(count: int, *parts: int) -> npt.NDArray[np.int64]:
    """Return the numbers 0 to ``count`` - 1 in a random order that depends on ``parts`` only, int64 (count,).

    The order is that of SplitMix64's outputs (Steele, Lea, Flood, OOPSLA 2014) for the numbers and ``parts``.
    """
    hashes = mix(np.arange(count, dtype=np.uint64) ^ key_of(*parts))
    return np.argsort(hashes, kind="stable").astype(np.int64)


def uniforms(indexes: npt.NDArray[np.int64], draws: int, *parts: int) -> npt.NDArray[np.float64]:
    """Return float64 (N, draws) in [0, 1); row i depends on ``indexes[i]`` and ``parts`` only.

    They are the high 53 bits of SplitMix64's outputs (Steele, Lea, Flood, OOPSLA 2014).
    """
    with np.errstate(over="ignore"):
        rows = mix(indexes.astype(np.uint64) ^ key_of(*parts))[:, None]
        states = mix(rows + np.arange(draws, dtype=np.uint64) * _GOLDEN)
    return (states >> np.uint64(11)).astype(np.float64) * 2.0**-53
