"""The table of loaders. A loader is imported when it is used, so that a missing library never breaks the others."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Literal

import PIL
import torch

from ..prep import MANIFEST, SHARDS, DatasetError, LoaderError, LoaderUnavailable
from ..prep.base.manifest import MAKE, refuse_shards
from ..prep.base.origins import origin_of
from ..prep.base.shell import shell_word
from ..prep.shards.current import current_shards, stale_shards
from .abilities import Ability, needed
from .base import Loader, Stages
from .sampling.in_shards import ShardChoice
from .spec import LoaderSpec
from .store.roots import open_root
from .support.encoded import EncodedImage, EncodedSamples


@dataclass(frozen=True, kw_only=True)
class LoaderEntry:
    """The facts about a loader that are needed before its library is imported. Its module has its name."""

    factory: str
    """The class in the module that takes a LoaderSpec and is a Loader."""
    stages: str | None = None
    """The class in the module that is its Stages, or None if its library does everything behind one call."""
    summary: str
    needs: Literal["folders", "shards", "either"]
    libraries: tuple[str, ...]
    """Distributions that it depends on and whose versions are recorded."""
    install: str
    covers_epoch: bool = True
    """False if an epoch is not each sample exactly once: such a loader is for measuring, not for training."""
    workers: Literal["any", "streams", "none"] = "any"
    """How many workers it can use: any number, at most one per stream of shards, or none."""
    abilities: frozenset[Ability] = frozenset()
    """What it can do of that which not every loader can."""
    takes_samples: bool = False
    """Whether it can read ``EncodedSamples`` that the caller gives, instead of those of its root."""
    linux_only: bool = False
    """Whether its library exists for Linux only."""

    @property
    def uses_workers(self) -> bool:
        return self.workers != "none"

    @property
    def remedy(self) -> str:
        """What the user can do if its library is missing."""
        if self.linux_only and sys.platform != "linux":
            return "it exists for Linux only; the other loaders do not need it"
        return f"install it with: {self.install}"


_ANY_ORDER = frozenset[Ability]({"indices in an order of their own", "weights", "sampler", "repeat"})
# Samples are decoded in the CPU's memory, one by one, before a batch is made of them.
_APART: frozenset[Ability] = frozenset({"image_size=None", "sample_transform with device 'cuda'"})

LOADERS: dict[str, LoaderEntry] = {
    "imagefolder": LoaderEntry(
        factory="ImageFolderLoader",
        stages="ImageFolderStages",
        summary="torchvision ImageFolder and torch DataLoader: the usual baseline",
        needs="folders",
        libraries=("torch", "torchvision", "pillow"),
        install="pip install feedline",
        abilities=_ANY_ORDER | _APART,
    ),
    "webdataset": LoaderEntry(
        factory="WebDatasetLoader",
        stages="WebDatasetStages",
        summary="the webdataset library over the shards, with worker processes",
        needs="shards",
        libraries=("webdataset", "torch", "pillow"),
        install="pip install webdataset",
        workers="streams",
        abilities=_APART,
    ),
    "dali": LoaderEntry(
        factory="DaliLoader",
        summary="NVIDIA DALI: decodes only the crop, on the GPU if there is one; Linux",
        needs="either",
        libraries=("nvidia-dali-cuda130", "simplejpeg", "torch", "pillow"),
        install="pip install 'feedline[dali]'",
        abilities=_ANY_ORDER,
        linux_only=True,
    ),
    "threaded": LoaderEntry(
        factory="ThreadedLoader",
        stages="ThreadedStages",
        summary="threads in one process: decodes only the crop",
        needs="either",
        libraries=("simplejpeg", "numba", "torch", "pillow"),
        install="pip install simplejpeg numba",
        abilities=_ANY_ORDER | _APART | frozenset[Ability]({"decode 'gpu'", "dct_scaling", "pixels 'planar'"}),
        takes_samples=True,
    ),
    "cached": LoaderEntry(
        factory="CachedLoader",
        summary="replays a few decoded batches: the ceiling for all loaders",
        needs="either",
        libraries=("torch",),
        install="pip install feedline",
        abilities=_ANY_ORDER | _APART,
        covers_epoch=False,
        workers="none",
    ),
}
"""The loaders by name, whether their libraries are installed or not."""


def open_loader(name: str, spec: LoaderSpec, *, samples: EncodedSamples | None = None) -> Loader:
    """Return the loader called ``name``.

    The loader reads ``samples`` instead of those of ``spec``, and closes them; see ``LoaderEntry.takes_samples``.
    Raises LoaderError for an unknown name or a spec that the loader cannot honour, LoaderUnavailable if its library is
    missing, DatasetError for a root that it cannot read.
    """
    factory = _factory(name)
    open_root(spec.root)
    spec = replace(spec, root=spec.root.absolute())  # a caller may change the working directory while it iterates
    if spec.device.startswith("cuda") and not torch.cuda.is_available():
        raise LoaderError(f"torch finds no GPU here for device {spec.device!r}; use --device cpu")
    _require_honoured(name, spec)
    if samples is None:
        return factory(spec)
    if not LOADERS[name].takes_samples:
        able = ", ".join(other for other, entry in LOADERS.items() if entry.takes_samples)
        raise LoaderError(f"{name} reads only the samples of its root; choose one of: {able}")
    return factory(spec, samples=samples)


def open_stages(name: str, spec: LoaderSpec, read: Callable[[int], EncodedImage] | None = None) -> Stages | None:
    """Return the stages of the loader called ``name``, or None if its library does everything behind one call.

    ``read``, if given, returns the image of a sample index and replaces the loader's own reading. Raises what
    ``open_loader`` raises, and LoaderError for a spec with a transform of the user's, which is not timed.
    """
    if spec.sample_transform is not None:
        raise LoaderError("the stages of a loader are timed without sample_transform; leave it out")
    stages = _entry(name).stages
    return None if stages is None else getattr(_module(name), stages)(spec, read)


def honours(name: str, spec: LoaderSpec) -> bool:
    """Return whether the loader has the abilities that the spec needs."""
    return LOADERS[name].abilities.issuperset(needed(spec))


def loader_versions(name: str) -> dict[str, str]:
    """Return {distribution: version} of an installed loader. Raises LoaderUnavailable for one that is not installed."""
    _factory(name)
    return {library: _version(library) for library in LOADERS[name].libraries}


def prepare_loader(name: str) -> None:
    """Do what the loader otherwise does in the background when it is first opened: compile, for a minute at most.

    For measurements. Raises LoaderUnavailable for a loader that is not installed.
    """
    _factory(name)
    getattr(_module(name), "prepare", lambda: None)()


def most_workers(name: str, spec: LoaderSpec) -> int | None:
    """Return how many workers the loader can use for ``spec.root`` and ``spec.split``, or None for any number.

    Raises DatasetError or LoaderError for a root or split that it cannot read.
    """
    limit = LOADERS[name].workers
    if limit != "streams":
        return 0 if limit == "none" else None
    return ShardChoice(spec, current_shards(spec.root)).streams


def readable_loaders(root: Path) -> list[str]:
    """Return the names of installed loaders that can read ``root``. Raises DatasetError if none can.

    Raises LoaderError if ``root`` has class folders and shards that do not match them.
    """
    open_root(root)
    found = {
        "folders": (root / MANIFEST).is_file(),
        "shards": (root / SHARDS / MANIFEST).is_file(),
    }
    refuse_shards(root)
    if problem := stale_shards(root):
        raise LoaderError(problem)
    found["either"] = any(found.values())
    names = [name for name, entry in LOADERS.items() if found[entry.needs] and _is_installed(name)]
    if not names:
        tars = next((place for place in (root / SHARDS, root) if any(place.glob("*.tar"))), None)
        indexed = (
            f"if {tars} holds shards, index them: feedline shard --index-only {shell_word(tars)}; otherwise "
            if tars
            else ""
        )
        raise DatasetError(
            f"{root} holds neither finished class folders nor finished shards; {indexed}"
            f"make it with: {MAKE.format(root=shell_word(root))}"
        )
    return names


def _entry(name: str) -> LoaderEntry:
    entry = LOADERS.get(name)
    if entry is None:
        raise LoaderError(f"there is no loader {name!r}; choose one of: {', '.join(LOADERS)}")
    return entry


def _factory(name: str) -> Callable[..., Loader]:
    return getattr(_module(name), _entry(name).factory)


def _module(name: str) -> ModuleType:
    """Import the module of a loader. Raises LoaderUnavailable if its library is missing."""
    entry = _entry(name)
    try:
        return import_module(f".{name}", __package__)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "feedline"):  # an error in feedline must not look like a missing library
            raise
        raise LoaderUnavailable(f"loader {name} needs {missing}; {entry.remedy}") from error


def _require_honoured(name: str, spec: LoaderSpec) -> None:
    if LOADERS[name].needs == "folders" and origin_of(spec.root / SHARDS) is not None:
        able = ", ".join(other for other, entry in LOADERS.items() if entry.needs != "folders" and entry.covers_epoch)
        raise LoaderError(
            f"{name} reads class folders, and of {spec.root}, which is behind a URL, shards are read; "
            f"choose one of: {able}"
        )
    lacking = [ability for ability in needed(spec) if ability not in LOADERS[name].abilities]
    if lacking:
        able = ", ".join(other for other in LOADERS if honours(other, spec))
        remedy = f"choose one of: {able}" if able else "no loader can do all that the spec requests"
        raise LoaderError(f"{name} cannot do {' and '.join(lacking)}; {remedy}")
    if spec.decode == "gpu" and not spec.device.startswith("cuda"):
        raise LoaderError(f"decode 'gpu' needs a CUDA device, got device {spec.device!r}; use --device cuda")


def _is_installed(name: str) -> bool:
    try:
        _factory(name)
    except LoaderUnavailable:
        return False
    return True


def _version(library: str) -> str:
    if library == "pillow":
        # Pillow-SIMD is another distribution of the same module. pip installs both, and the later one overwrites the
        # other's files, so the version in the files is the one that runs.
        return f"{PIL.__version__} (SIMD)" if _metadata("pillow-simd") == PIL.__version__ else PIL.__version__
    return _metadata(library) or "unknown"


def _metadata(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
