"""Eight bytes of an array at once, from any place, and the bits in them.

numba reads unaligned words only through a few LLVM instructions that it does not offer, which are here as intrinsics
that work on every processor. They check nothing. With NUMBA_BOUNDSCHECK=1 the same functions go byte by byte through
checked indexes instead, which also says what they do.
"""

# pyright: basic
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from .vectors.compiling import compiled, inlined
from .vectors.memory import CHECKED, intrinsic

U8 = npt.NDArray[np.uint8]
U = np.uint64


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    address = builder.gep(context.make_array(kind)(context, builder, array).data, [index])
    return builder.bitcast(address, ir.IntType(64).as_pointer())


@intrinsic
def _load(typing: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word = builder.load(_pointer(context, builder, signature.args[0], *values))
        word.align = 1
        return word

    return types.uint64(array, index), generate


@intrinsic
def _store(typing: Any, array: Any, index: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _pointer(context, builder, signature.args[0], *values[:2])
        builder.store(values[2], place).align = 1
        return context.get_dummy_value()

    return types.void(array, index, types.uint64), generate


@intrinsic
def _swap(typing: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.bswap", [ir.IntType(64)]), values)

    return types.uint64(types.uint64), generate


@intrinsic
def memory_at(typing: Any, address: Any) -> Any:
    """Return a pointer to an address."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@inlined
def load_word(array: U8, index: int) -> np.uint64:
    """Return the eight bytes from ``index`` on, the first lowest."""
    return _load(array, U(index))


@inlined
def store_word(array: U8, index: int, word: np.uint64) -> None:
    """Write eight bytes from ``index`` on, the lowest first."""
    _store(array, U(index), word)


@inlined
def load_bits(array: U8, index: int) -> np.uint64:
    """Return the eight bytes from ``index`` on, the first highest."""
    return _swap(_load(array, U(index)))


if CHECKED:

    @compiled
    def load_word(array: U8, index: int) -> np.uint64:
        """Return the same through checked indexes."""
        word = U(0)
        for i in range(8):
            word |= U(array[np.int64(index) + i]) << U(8 * i)
        return word

    @compiled
    def store_word(array: U8, index: int, word: np.uint64) -> None:
        """Do the same through checked indexes."""
        for i in range(8):
            array[np.int64(index) + i] = np.uint8((word >> U(8 * i)) & U(255))

    @compiled
    def load_bits(array: U8, index: int) -> np.uint64:
        """Return the same through checked indexes."""
        word = U(0)
        for i in range(8):
            word = (word << U(8)) | U(array[np.int64(index) + i])
        return word
