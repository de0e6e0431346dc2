"""Calls of a user's transform: with its random numbers, and with errors that name what was transformed."""

import inspect
import multiprocessing
import pickle
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch

from ...prep import LoaderError, TransformError
from .seeding import Generators, Seeded


class Call:
    """A transform of the user, called ``name`` in messages. It is picklable if the transform is."""

    def __init__(self, name: str, transform: Callable[..., Any]) -> None:
        self.name = name
        self._transform = transform
        self._takes_generator = _takes_generator(transform)

    def __call__(self, seed: int, device: torch.device, what: Callable[[], str], *inputs: Any) -> Any:
        """Return what the transform returns for ``inputs``, which are on ``device``.

        Raises TransformError, which names what ``what`` returns, from whatever the transform raises.
        """
        generators = Generators(seed)
        keywords = {"generator": generators.on(device)} if self._takes_generator else {}
        try:
            with torch.no_grad(), ExitStack() as modes:
                if torch.get_default_device().type != "cpu":  # the transform must not change with the caller's thread
                    modes.enter_context(torch.device("cpu"))
                modes.enter_context(Seeded(generators))
                return self._transform(*inputs, **keywords)
        except Exception as error:
            raise self.failed(what(), f"{type(error).__name__}: {error}") from error

    def failed(self, what: str, reason: str) -> TransformError:
        """Return the error of a transform that failed on ``what``."""
        return TransformError(f"{self.name} failed on {what}: {reason}")


class Remote(Exception):
    """The traceback of an exception in a worker process."""


class Raised:
    """An error of a transform in a worker process, to be raised in the process of the user."""

    def __init__(self, error: TransformError) -> None:
        self._message = str(error)
        self._traceback = "".join(traceback.format_exception(error.__cause__ or error))

    def error(self) -> TransformError:
        """Return the error, whose cause shows the traceback of the worker."""
        error = TransformError(self._message)
        error.__cause__ = Remote(f'\n"""\n{self._traceback}"""')
        return error


def require_picklable(name: str, transform: Any) -> None:
    """Raise LoaderError for a transform that new worker processes could not be sent.

    Forked ones have it already.
    """
    method = multiprocessing.get_start_method()
    if method == "fork":
        return
    remedy = f"worker processes are started by {method} here; define it in a module, or use the loader threaded"
    home: Any = sys.modules["__main__"]
    if getattr(transform, "__module__", "") == "__main__" and not hasattr(home, "__file__"):
        raise LoaderError(f"{name} is defined in a notebook or at a prompt, where no other process finds it; {remedy}")
    try:
        pickle.dumps(transform)
    except Exception as error:
        raise LoaderError(f"{name} cannot be sent to worker processes: {error}; {remedy}") from error


def _takes_generator(transform: Callable[..., Any]) -> bool:
    """Return whether a callable has a parameter called ``generator``; that of a module's ``forward`` counts."""
    function = transform.forward if isinstance(transform, torch.nn.Module) else transform
    try:
        parameter = inspect.signature(function).parameters.get("generator")
    except (TypeError, ValueError):  # some callables of C have no signature
        return False
    if parameter is not None and parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise LoaderError("the parameter generator of a transform is passed by its name; leave out the / behind it")
    return parameter is not None
