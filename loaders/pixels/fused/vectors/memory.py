"""Arrays, variables and loops in code that numba generates, for vectors of integers.

The body of an intrinsic is a function that runs when numba compiles. Nothing checks an index, as elsewhere in the
decoder; with NUMBA_BOUNDSCHECK=1, every load and every store does.
"""

# pyright: basic
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

from .lanes import Lanes

intrinsic: Any = extending.intrinsic  # its type is that of the function which is called, without the first argument

CHECKED = bool(getattr(numba, "config").BOUNDSCHECK)  # noqa: B009 - not among the names that numba exports
"""Whether every access to an array is checked (NUMBA_BOUNDSCHECK=1), for tests."""

I64 = ir.IntType(64)


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


def after(builder: Any, index: Any, offset: int) -> Any:
    """Return an index that lies behind another."""
    return builder.add(index, ir.Constant(index.type, offset))


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
