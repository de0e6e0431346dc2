"""A virtual environment for each peer, so that no library has to agree with another about versions.

An environment sees first what pip installed into it and then, by a .pth file, everything that the environment of the
running interpreter has: torch and feedline itself are installed once and not twelve times. ``site.addsitedir``,
unlike a plain line in a .pth file, also honours what is installed there in editable mode, and as it happens when the
interpreter starts, worker processes see the same, however they are started.

The receipt is written last: an environment without one, or made by another interpreter or for other pins, counts as
missing.
"""

import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ...prep import FeedlineError, LoaderUnavailable, read_document, write_document
from .table import PEERS, Peer

RECEIPT = "feedline-peer.json"
PTH = "zz-feedline-shared.pth"  # after what pip may write there


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What an environment was made for."""

    requirements: tuple[str, ...]
    shared: tuple[str, ...]
    """The folders of the running interpreter that it sees after its own."""
    versions: dict[str, str]
    """Of the distributions that its own folder holds."""


def install(name: str, envs: Path) -> Receipt:
    """Make the environment of peer ``name`` in ``envs``, or bring it up to date. Raises LoaderUnavailable."""
    import venv  # here: Windows' embeddable Python has none, and `bench` imports this module

    peer, place = PEERS[name], _place(name, envs)
    venv.create(place, with_pip=False, symlinks=sys.platform != "win32")
    own = _own_packages(place)
    # A .pth file is read in the console's encoding: "!a" escapes what that may not have.
    lines = [f"import site; site.addsitedir({folder!a})" for folder in _shared()]
    (own / PTH).write_text("\n".join(lines) + "\n", encoding="ascii")
    pip = [sys.executable, "-m", "pip", "--python", str(python_of(name, envs)), "install", "--no-input"]
    done = subprocess.run([*pip, *peer.requirements], capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise LoaderUnavailable(f"peer {name} cannot be installed: {_last_line(done.stderr)}{_debian(peer)}")
    versions = {found.name: found.version for found in metadata.distributions(path=[str(own)])}
    receipt = Receipt(requirements=peer.requirements, shared=_shared(), versions=versions)
    write_document(place / RECEIPT, receipt)
    return receipt


def receipt_of(name: str, envs: Path) -> Receipt | None:
    """Return the receipt of a peer's environment; None where it is missing, unfinished or made for something else."""
    try:
        receipt = read_document(_place(name, envs) / RECEIPT, Receipt)
    except FeedlineError:
        return None
    current = receipt.requirements == PEERS[name].requirements and receipt.shared == _shared()
    return receipt if current else None


def python_of(name: str, envs: Path) -> Path:
    """Return the interpreter of a peer's environment."""
    place = _place(name, envs)
    return place / "Scripts" / "python.exe" if sys.platform == "win32" else place / "bin" / "python"


def how_to_install(names: Iterable[str], envs: Path) -> str:
    """Return the command that installs ``names``, or all peers where there are none."""
    return " ".join(["python -m feedline.benchmarks.peers install", *names, "--envs", str(envs)])


def _place(name: str, envs: Path) -> Path:
    return envs.resolve() / (PEERS[name].environment or name)


def _own_packages(place: Path) -> Path:
    scheme = {"base": str(place), "platbase": str(place), "installed_base": str(place)}
    return Path(sysconfig.get_path("purelib", "venv", scheme))


def _shared() -> tuple[str, ...]:
    return tuple(dict.fromkeys(sysconfig.get_paths()[kind] for kind in ("purelib", "platlib")))


def _debian(peer: Peer) -> str:
    return f"; on Debian it needs: apt-get install {' '.join(peer.debian)}" if peer.debian else ""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "pip said nothing")
