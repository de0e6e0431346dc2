"""Vectors of integers, in code that numba generates: they are LLVM's values, with Python's operators."""

# pyright: basic
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir


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


def same(builder: Any, number: Any, count: int, bits: int) -> Lanes:
    """Return lanes that all hold one number."""
    kind = ir.VectorType(ir.IntType(bits), count)
    width = number.type.width
    number = number if width == bits else builder.trunc(number, ir.IntType(bits))
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return Lanes(builder, builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), mask))


def constant(builder: Any, number: int, count: int, bits: int) -> Lanes:
    """Return lanes that all hold one number that is known."""
    return Lanes(builder, ir.Constant(ir.VectorType(ir.IntType(bits), count), [number] * count))


def word_lanes(builder: Any, word: Any) -> Lanes:
    """Return the eight bytes of a word, the lowest first."""
    return Lanes(builder, builder.bitcast(word, ir.VectorType(ir.IntType(8), 8)))


def interleaved(first: Lanes, second: Lanes, third: Lanes) -> Lanes:
    """Return the first lanes of three vectors, then their second ones, and so on."""
    count = first.count
    return first.then(second).picked(third.then(third), [i % 3 * count + i // 3 for i in range(3 * count)])
