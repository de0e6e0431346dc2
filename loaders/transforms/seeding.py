"""The random numbers of a transform: each a pure function of (seed, epoch, what is transformed).

Most transforms draw from torch's global generator. All threads of a process share it, and so does the user's training
loop. ``Seeded`` gives the functions of torch that draw a generator of its own instead. It is a mode of torch, which
applies to one thread only.
"""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch.overrides import TorchFunctionMode

from ...prep import LoaderError
from ...prep.base.order import key_of, mix

U64 = npt.NDArray[np.uint64]

# These separate the seeds of transforms from the random numbers of crops, which have the same seed and epoch.
_OF_SAMPLES, _OF_BATCHES = 0x5A3B1E, 0xBA7C4E


def sample_seeds(keys: npt.NDArray[np.int64], seed: int, epoch: int) -> list[int]:
    """Return a seed for each draw key."""
    return _seeds(mix(keys.astype(np.uint64) ^ key_of(seed, epoch, _OF_SAMPLES)))


def batch_seed(indexes: npt.NDArray[np.int64], seed: int, epoch: int) -> int:
    """Return the seed of a batch with these sample indexes, in this order."""
    places = mix(np.arange(len(indexes), dtype=np.uint64))
    with np.errstate(over="ignore"):
        digest = mix(indexes.astype(np.uint64) ^ places).sum(dtype=np.uint64)
    return _seeds(mix(np.array([digest ^ key_of(seed, epoch, _OF_BATCHES)])))[0]


def _seeds(hashes: U64) -> list[int]:
    return (hashes >> np.uint64(1)).tolist()  # torch takes 63 bits


class Generators:
    """Generators with the same seed, one per device, made when they are needed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._made: dict[torch.device, torch.Generator] = {}

    def on(self, device: torch.device) -> torch.Generator:
        generator = self._made.get(device)
        if generator is None:
            generator = self._made[device] = torch.Generator(device)
            generator.manual_seed(self._seed)
        return generator


class Seeded(TorchFunctionMode):
    """A context in which torch's functions that draw use ``generators``, in this thread only."""

    def __init__(self, generators: Generators) -> None:
        super().__init__()
        self._generators = generators

    def __enter__(self) -> Self:
        super().__enter__()  # pyright: ignore[reportUnknownMemberType]  (torch's stub has no types here)
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        drawing = _DRAWING.get(func)
        if drawing is None or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        return drawing(self._generators, func, args, kwargs)


Draw = Callable[[Generators, Any, tuple[Any, ...], dict[str, Any]], Any]


def _make(generators: Generators, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Draw a new tensor of a given size."""
    device = kwargs.get("device")
    device = torch.get_default_device() if device is None else torch.device(device)
    return func(*args, **{**kwargs, "generator": generators.on(_indexed(device))})


def _fill(generators: Generators, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Draw from, or into, the tensor that comes first."""
    tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
    tensor = next(tensors, None)
    device = torch.device("cpu") if tensor is None else tensor.device
    return func(*args, **{**kwargs, "generator": generators.on(device)})


def _normal(generators: Generators, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Draw as ``torch.normal``, whose mean and deviation are tensors or whose size is given."""
    tensors = any(isinstance(value, torch.Tensor) for value in (*args, *kwargs.values()))
    return (_fill if tensors else _make)(generators, func, args, kwargs)


def _like(fill: Callable[..., Any]) -> Draw:
    """Draw a tensor like another; not every version of torch has these functions with a generator."""

    def draw(generators: Generators, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs = dict(kwargs)
        tensor, *numbers = (inputs.pop("input"), *args) if "input" in inputs else args
        bounds = [*numbers, *(inputs.pop(name) for name in ("low", "high") if name in inputs)]
        made = torch.empty_like(tensor, **inputs)
        with torch.no_grad():
            return fill(made, *bounds, generator=generators.on(made.device))

    return draw


def _refuse(generators: Generators, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Refuse what draws from the global generator and takes no other, such as dropout in training."""
    training = kwargs.get("training", kwargs.get("train", args[2] if len(args) == 3 else True))
    if not training:
        return func(*args, **kwargs)
    raise LoaderError(
        f"{func.__name__} draws from torch's global generator and takes no other, so its numbers would change with the "
        "threads; draw with torch.rand or Tensor.uniform_ instead"
    )


def _integers(tensor: torch.Tensor, *bounds: int, generator: torch.Generator) -> torch.Tensor:
    low, high = bounds if len(bounds) == 2 else (0, bounds[0])
    return tensor.random_(low, high, generator=generator)


def _indexed(device: torch.device) -> torch.device:
    """Return the device with its number, as tensors have it."""
    return torch.empty(0, device=device).device if device.type == "cuda" else device


def _table() -> dict[Any, Draw]:
    tensor, functional = torch.Tensor, torch.nn.functional
    table: dict[Any, Draw] = dict.fromkeys([torch.rand, torch.randn, torch.randint, torch.randperm], _make)
    table[torch.normal] = _normal
    for name in ("bernoulli", "multinomial", "poisson", "binomial", "_standard_gamma", "_sample_dirichlet"):
        table[getattr(torch, name)] = _fill
    for name in (
        *("uniform_", "normal_", "random_", "bernoulli_", "exponential_", "geometric_", "cauchy_", "log_normal_"),
        *("bernoulli", "multinomial"),
    ):
        table[getattr(tensor, name)] = _fill
    table[torch.rand_like] = _like(tensor.uniform_)
    table[torch.randn_like] = _like(tensor.normal_)
    table[torch.randint_like] = _like(_integers)
    # Functions in Python that call others which draw: a mode does not apply within what it calls.
    for name in ("uniform_", "normal_", "kaiming_uniform_"):
        table[getattr(torch.nn.init, name)] = _fill
    for name in (
        *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "rrelu"),
        *("gumbel_softmax", "fractional_max_pool2d_with_indices", "fractional_max_pool3d_with_indices"),
    ):
        table[getattr(functional, name)] = _refuse
    for name in ("dropout", "dropout_", "alpha_dropout", "feature_dropout", "rrelu", "native_dropout"):
        table[getattr(torch, name)] = _refuse
    return table


_DRAWING = _table()
"""What draws, and how it is given a generator."""
