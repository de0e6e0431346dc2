"""Many numbers in one instruction: LLVM's vectors, as the bodies of intrinsics for numba.

numba leaves vectors to LLVM, which chooses their length for the widest registers and for loops of unknown length. A
loop of eight then runs in the remainder, by four; and arithmetic of numba is 64 bits wide, which LLVM does not always
narrow. So the innermost steps are written for vectors of a fixed length. LLVM makes the instructions of any processor
from them, of several registers if one is too short.

An intrinsic here is a function of this module's ``Memory`` and of LLVM's values, which runs when numba compiles.
Nothing checks an index, as elsewhere in this room; with NUMBA_BOUNDSCHECK=1, every load and store of lanes does.
"""

# pyright: basic
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .compiling import CHECKED
from .words import intrinsic

__all__ = ["I64", "Lanes", "Memory", "Variable", "after", "body", "constant", "each", "intrinsic", "same", "word_lanes"]

I64 = ir.IntType(64)


class Lanes:
    """A vector of integers, with the operators of one. Results wrap around, as in C with unsigned numbers."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value
        self.count, self.bits = value.type.count, value.type.element.width

    def _other(self, other: Lanes | int) -> Any:
        return other.value if isinstance(other, Lanes) else ir.Constant(self.value.type, [other] * self.count)

    def _with(self, operation: Callable[..., Any], other: Lanes | int) -> Lanes:
        return Lanes(self.builder, operation(self.value, self._other(other)))

    def __add__(self, other: Lanes | int) -> Lanes:
        return self._with(self.builder.add, other)

    def __sub__(self, other: Lanes | int) -> Lanes:
        return self._with(self.builder.sub, other)

    def __mul__(self, other: Lanes | int) -> Lanes:
        return self._with(self.builder.mul, other)

    def __or__(self, other: Lanes | int) -> Lanes:
        return self._with(self.builder.or_, other)

    def __lshift__(self, bits: int) -> Lanes:
        return self._with(self.builder.shl, bits)

    def __rshift__(self, bits: Lanes | int) -> Lanes:
        """Return floor(x / 2 ** bits), of signed numbers."""
        return self._with(self.builder.ashr, bits)

    def unsigned_shift(self, bits: int) -> Lanes:
        """Return floor(x / 2 ** bits), of unsigned numbers."""
        return self._with(self.builder.lshr, bits)

    def clipped(self, low: int, high: int) -> Lanes:
        """Return signed numbers within bounds."""
        above = self._with(lambda a, b: self.builder.select(self.builder.icmp_signed(">", a, b), a, b), low)
        return above._with(lambda a, b: self.builder.select(self.builder.icmp_signed("<", a, b), a, b), high)

    def signed(self, bits: int) -> Lanes:
        """Return signed numbers in more bits."""
        return Lanes(self.builder, self.builder.sext(self.value, self._type(bits)))

    def unsigned(self, bits: int) -> Lanes:
        """Return unsigned numbers in more bits."""
        return Lanes(self.builder, self.builder.zext(self.value, self._type(bits)))

    def narrow(self, bits: int) -> Lanes:
        """Return the lowest bits."""
        return Lanes(self.builder, self.builder.trunc(self.value, self._type(bits)))

    def then(self, other: Lanes) -> Lanes:
        """Return these lanes and as many others behind them."""
        return self.picked(other, range(2 * self.count))

    def picked(self, other: Lanes, places: range | list[int]) -> Lanes:
        """Return the lanes at some places of these and, counted on, of others."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), list(places))
        return Lanes(self.builder, self.builder.shuffle_vector(self.value, other.value, mask))

    def _type(self, bits: int) -> Any:
        return ir.VectorType(ir.IntType(bits), self.count)


class Memory:
    """An array of one dimension, as memory of lanes."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        self.context, self.builder = context, builder
        self.array = context.make_array(kind)(context, builder, value)

    def load(self, index: Any, count: int) -> Lanes:
        """Return ``count`` numbers from ``index`` on."""
        word = self.builder.load(self._pointer(index, count))
        word.align = 1
        return Lanes(self.builder, word)

    def store(self, index: Any, lanes: Lanes) -> None:
        """Write numbers from ``index`` on."""
        self.builder.store(lanes.value, self._pointer(index, lanes.count)).align = 1

    def number(self, index: Any) -> Any:
        """Return one number, not as lanes."""
        self._check(index, 1)
        return self.builder.load(self.builder.gep(self.array.data, [index]))

    def _pointer(self, index: Any, count: int) -> Any:
        self._check(index, count)
        address = self.builder.gep(self.array.data, [index])
        return self.builder.bitcast(address, ir.VectorType(address.type.pointee, count).as_pointer())

    def _check(self, index: Any, count: int) -> None:
        if CHECKED:
            length = self.builder.extract_value(self.array.shape, 0)
            for place in (index, self.builder.add(index, ir.Constant(index.type, count - 1))):
                cgutils.do_boundscheck(self.context, self.builder, place, length)


def body(function: Callable[..., None]) -> Callable[..., Any]:
    """Return what an intrinsic without a result generates: ``function`` of a Memory for each array, and of values."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        arguments = [
            Memory(context, builder, kind, value) if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, values, strict=True)
        ]
        function(builder, *arguments)
        return context.get_dummy_value()

    return generate


def same(builder: Any, number: Any, count: int, bits: int) -> Lanes:
    """Return lanes that all hold one number."""
    kind = ir.VectorType(ir.IntType(bits), count)
    width = number.type.width
    number = number if width == bits else builder.trunc(number, ir.IntType(bits))
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return Lanes(builder, builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), mask))


def after(builder: Any, index: Any, offset: int) -> Any:
    """Return an index that lies behind another."""
    return builder.add(index, ir.Constant(index.type, offset))


def word_lanes(builder: Any, word: Any) -> Lanes:
    """Return the eight bytes of a word, the lowest first."""
    return Lanes(builder, builder.bitcast(word, ir.VectorType(ir.IntType(8), 8)))


def constant(builder: Any, number: int, count: int, bits: int) -> Lanes:
    """Return lanes that all hold one number that is known."""
    return Lanes(builder, ir.Constant(ir.VectorType(ir.IntType(bits), count), [number] * count))


class Variable:
    """Lanes that change within a loop."""

    def __init__(self, builder: Any, first: Lanes) -> None:
        self.builder, self.place = builder, cgutils.alloca_once(builder, first.value.type)
        self.set(first)

    def get(self) -> Lanes:
        return Lanes(self.builder, self.builder.load(self.place))

    def set(self, lanes: Lanes) -> None:
        self.builder.store(lanes.value, self.place)


@contextmanager
def each(builder: Any, count: Any) -> Iterator[Any]:
    """Make a loop; yields its number, from 0 on."""
    with cgutils.for_range(builder, count) as loop:
        yield loop.index
