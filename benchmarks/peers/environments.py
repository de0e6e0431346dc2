"""A virtual environment for each peer, so that the libraries' requirements cannot conflict.

An environment has first the packages that pip installed into it. A .pth file then adds all packages of the running
interpreter's environment, so torch and feedline itself are installed once and not for each peer. Unlike a plain line in
a .pth file, ``site.addsitedir`` also finds packages that are installed there in editable mode. It runs when the
interpreter starts, so worker processes have the same packages, however they are started.

The receipt is written last. An environment counts as missing if it has no receipt, or if it was made by another
interpreter or for other pins.
"""

import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ...prep import FeedlineError, LoaderUnavailable, read_document, write_document
from ...prep.base.shell import shell_word
from .table import PEERS, Peer

RECEIPT = "feedline-peer.json"
PTH = "zz-feedline-shared.pth"  # sorted after any file that pip writes there


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The pins and the interpreter that an environment was made for."""

    requirements: tuple[str, ...]
    shared: tuple[str, ...]
    """The package folders of the running interpreter, which the environment searches after its own."""
    versions: dict[str, str]
    """Versions of the distributions in its own folder."""


def install(name: str, envs: Path) -> Receipt:
    """Create or update the environment of peer ``name`` in ``envs``; return its receipt. Raises LoaderUnavailable."""
    import venv  # here: Windows' embeddable Python has no venv, and `bench` imports this module

    peer, place = PEERS[name], _place(name, envs)
    venv.create(place, with_pip=False, symlinks=sys.platform != "win32")
    own = _own_packages(place)
    # A .pth file is read in the console's encoding: "!a" escapes characters that are not ASCII.
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
    """Return the receipt of a peer's environment; None if it is missing, unfinished, or made for other pins."""
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
    """Return the command that installs ``names``, or all peers if ``names`` is empty."""
    return " ".join(["python -m feedline.benchmarks.peers install", *names, "--envs", shell_word(envs)])


def _place(name: str, envs: Path) -> Path:
    return envs.resolve() / (PEERS[name].variant_of or name)


def _own_packages(place: Path) -> Path:
    scheme = {"base": str(place), "platbase": str(place), "installed_base": str(place)}
    return Path(sysconfig.get_path("purelib", "venv", scheme))


def _shared() -> tuple[str, ...]:
    return tuple(dict.fromkeys(sysconfig.get_paths()[kind] for kind in ("purelib", "platlib")))


def _debian(peer: Peer) -> str:
    return f"; on Debian it needs: apt-get install {' '.join(peer.debian)}" if peer.debian else ""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "pip printed nothing")
