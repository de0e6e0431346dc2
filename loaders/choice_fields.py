"""Checks of the fields of a spec that choose samples, and ``Numbers``, the form in which a spec keeps many numbers."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Any, cast, overload

import numpy as np
import numpy.typing as npt
import torch
from pydantic import GetCoreSchemaHandler, GetPydanticSchema, PlainSerializer
from pydantic_core import CoreSchema

from ..prep import LoaderError
from .fields import integer_of

SHOWN = 3  # of the numbers in a repr, so that a spec of a million weights stays one line


class Numbers(Sequence[Any]):
    """A read-only sequence of numbers or of True and False; unlike an array, it is compared and hashed as a value."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self.array = np.array(array)  # a copy, which the caller cannot change
        self.array.flags.writeable = False

    @cached_property
    def digest(self) -> str:
        """A digest of the type and the numbers."""
        return blake2b(self.array.dtype.str.encode() + self.array.tobytes(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> "Numbers": ...

    def __getitem__(self, place: int | slice) -> Any:
        return Numbers(self.array[place]) if isinstance(place, slice) else self.array.item(place)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.array.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.array, dtype=dtype, copy=copy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbers) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        return Numbers, (self.array,)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.array[:SHOWN].tolist()))
        return f"<{len(self)}: {shown}, ...>" if len(self) > SHOWN else f"<{len(self)}: {shown}>"


def as_list(value: Any) -> Any:
    """Return a field that chooses samples as JSON has it. Raises LoaderError for a sampler that is code."""
    if value is None or isinstance(value, (Numbers, tuple)):
        return value if value is None else list(cast(Iterable[Any], value))
    raise LoaderError(f"the sampler {value!r} cannot be written to a document; give its indexes as a list")


def _of_document(_: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    return handler(Annotated[Any, PlainSerializer(as_list)])


IN_DOCUMENT = GetPydanticSchema(_of_document)
"""The annotation of a field whose type pydantic cannot check; the spec does."""


def indices_of(name: str, value: Any) -> Numbers | None:
    """Return sample indexes as int64 (N,), or a mask as bool (N,), N at least 1; None for None.

    Raises LoaderError for what is neither, for negative numbers, and for a choice of nothing.
    """
    if value is None or isinstance(value, Numbers):
        return value
    what = "the indexes of samples, or one True or False per sample"
    array = _array_of(name, value, what)
    if not len(array) or (array.dtype == np.bool_ and not array.any()):
        raise LoaderError(f"{name} chooses no sample; leave {name} out to take all")
    if array.dtype == np.bool_:
        return Numbers(array)
    if array.dtype.kind not in "iu":
        raise LoaderError(f"{name} must be {what}, got {array.dtype}: {_shown(array)}")
    if array.min() < 0:
        raise LoaderError(f"{name} must be at least 0, got {array.min()}; count from the first sample of the split")
    if array.max() > np.iinfo(np.int64).max:
        raise LoaderError(f"{name} has {array.max()}, which no split has")
    return Numbers(array.astype(np.int64))


def classes_of(name: str, value: Any) -> tuple[str | int, ...] | None:
    """Return ids as text and class indexes as int, each once, at least one; None for None.

    Raises LoaderError for other types, a single id or index among them, and for a choice of nothing.
    """
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise LoaderError(f"{name} must be a tuple of class ids or class indexes; write {name}=({value!r},)")
    if isinstance(value, (np.ndarray, torch.Tensor)):
        value = _array_of(name, value, "class ids or class indexes").tolist()
    parts = list(cast(Iterable[Any], value))
    if not parts:
        raise LoaderError(f"{name} chooses no class; leave {name} out to take all")
    return tuple(dict.fromkeys(part if _is_id(part) else integer_of(f"each of {name}", part, 0) for part in parts))


def weights_of(name: str, value: Any) -> Numbers | None:
    """Return one weight per sample as float64 (N,); None for None.

    Raises LoaderError for what is not a finite number of at least 0, and if all are 0.
    """
    if value is None or isinstance(value, Numbers):
        return value
    array = _array_of(name, value, "one number per sample of the split")
    if not len(array):
        raise LoaderError(f"{name} is empty; give one number per sample of the split")
    if array.dtype.kind not in "iuf":
        raise LoaderError(f"{name} must be one number per sample of the split, got {array.dtype}: {_shown(array)}")
    weights = array.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise LoaderError(f"{name} must be finite and at least 0, got {weights[wrong[0]]} for sample {wrong[0]}")
    if not weights.any():
        raise LoaderError(f"{name} are all 0, so no sample can be drawn; give a sample a weight above 0")
    return Numbers(weights)


def sampler_of(name: str, value: Any) -> Any:
    """Return a sampler, a sequence or an array of indexes as Numbers.

    Raises LoaderError for what cannot be iterated in every epoch, such as a generator.
    """
    if value is None or isinstance(value, Numbers):
        return value
    if isinstance(value, (np.ndarray, torch.Tensor, list, tuple, range)):
        found = indices_of(name, value)
        if found is not None and found.array.dtype == np.bool_:
            raise LoaderError(f"{name} must yield the indexes of samples; pass a mask as indices")
        return found
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise LoaderError(f"{name} must be a sampler of torch, or yield the indexes of samples, got {value!r}")
    if isinstance(value, Iterator):
        raise LoaderError(f"{name} must be iterable in every epoch, got {value!r}; pass a torch.utils.data.Sampler")
    return value


def require_agreement(spec: Any) -> None:
    """Raise LoaderError if the fields of a spec choose samples in two ways that exclude each other."""
    others = [name for name in ("indices", "classes", "weights") if getattr(spec, name) is not None]
    others += ["repeat"] if spec.repeat > 1 else []
    if spec.sampler is not None and others:
        raise LoaderError(f"a sampler chooses the samples alone; leave out either sampler or {' and '.join(others)}")
    for name, given in (("weights", spec.weights is not None), ("repeat", spec.repeat > 1)):
        if given and not spec.shuffle:
            raise LoaderError(f"with {name}, samples come in random order; use shuffle=True")


def is_set(indices: Any, *, shuffle: bool) -> bool:
    """Return whether ``LoaderSpec.indices`` only say which samples to load, and not in which order or how often."""
    if not isinstance(indices, Numbers) or indices.array.dtype == np.bool_:
        return True
    return bool((np.diff(np.sort(indices.array) if shuffle else indices.array) > 0).all())


def _is_id(part: Any) -> bool:
    return isinstance(part, str) and bool(part)


def _array_of(name: str, value: Any, what: str) -> npt.NDArray[Any]:
    """Return a sequence, array or tensor of one dimension as an array."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()  # numpy has no bfloat16
    elif isinstance(value, (str, bytes, set, frozenset, dict)) or not isinstance(value, Iterable):
        raise LoaderError(f"{name} must be a sequence of {what}, got {_kind(value)}")
    elif isinstance(value, Iterator):
        value = list(cast(Iterator[Any], value))
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise LoaderError(f"{name} must be a sequence of {what}; {error}") from error
    if array.ndim != 1:
        raise LoaderError(f"{name} must have one dimension, got {array.ndim} dimensions")
    return array


def _kind(value: Any) -> str:
    kind = type(cast(object, value)).__name__
    return f"a {kind}" if isinstance(value, Iterable) and not isinstance(value, str) else repr(value)


def _shown(array: npt.NDArray[Any]) -> str:
    return ", ".join(map(repr, array[:SHOWN].tolist()))
