"""Pillow-SIMD under `imagefolder`: built here by the recipe of docs/loaders.md, held to the contract, and measured.

The second virtual environment is a new one outside the checkout. It sees everything that this one has installed, and
its own PIL first. Run with: python -m pytest -q -s tests/loaders/test_pillow_simd.py
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from feedline.prep import SyntheticSpec, prepare_imagenet, write_synthetic

pytestmark = pytest.mark.slow

HEADERS = "#include <stdio.h>\n#include <Python.h>\n#include <jpeglib.h>\n#include <zlib.h>\n"
# What this pytest was told by the environment, the one in there is not: with -q it would not say " passed".
ENVIRONMENT = {**os.environ, "PYTHONPATH": "", "PYTEST_ADDOPTS": ""}
ROUNDS = 3
EPOCHS = 3

EPOCH = """
import json, sys, time
from contextlib import closing
from pathlib import Path
import numpy as np
import torch
from feedline.loaders import LoaderSpec, loader_versions, open_loader

if __name__ == "__main__":
    root, out, epochs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    with closing(open_loader("imagefolder", LoaderSpec(root=root, batch_size=32, seed=5))) as loader:
        first = list(loader)  # not timed: opens the files and fills the caches
        start = time.process_time()  # of one core: neighbours do not count
        images = sum(len(batch.indexes) for _ in range(epochs) for batch in loader)
        seconds = time.process_time() - start
    np.savez(out, images=torch.cat([b.images for b in first]), indexes=torch.cat([b.indexes for b in first]))
    print(json.dumps({"rate": images / seconds, "pillow": loader_versions("imagefolder")["pillow"]}))
"""


@pytest.fixture(scope="module")
def simd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a second environment, with Pillow-SIMD compiled from its source."""
    compiler = shutil.which("cc")
    include = f"-I{sysconfig.get_paths()['include']}"
    if not compiler or run(compiler, "-fsyntax-only", include, "-xc", "-", check=False, stdin=HEADERS).returncode:
        pytest.skip("Pillow-SIMD needs a C compiler, Python's headers, libjpeg-dev and zlib1g-dev to compile")
    place = tmp_path_factory.mktemp("simd")
    venv.create(place / "venv", with_pip=True)
    python = place / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    fetched = run(*pip, "download", "--no-deps", "--dest", str(place / "source"), "pillow-simd", check=False)
    if fetched.returncode:
        pytest.skip(f"the source of Pillow-SIMD cannot be fetched: {fetched.stderr.strip()[-200:]}")
    run(*pip, "install", "--no-deps", *map(str, (place / "source").iterdir()))
    # addsitedir, unlike a plain line in a .pth file, also honours what is installed there in editable mode.
    own = Path(run(str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").stdout.strip())
    (own / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n")
    return python


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared root of 160 training images of ImageNet's size."""
    archives, root = tmp_path_factory.mktemp("archives"), tmp_path_factory.mktemp("photographs") / "data"
    write_synthetic(archives, SyntheticSpec(layout="ilsvrc2012", classes=8, images_per_class=20, seed=2))
    prepare_imagenet([archives], root)
    return root


def run(*command: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, env=ENVIRONMENT)
    assert not check or done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done


def test_the_contract_holds_on_pillow_simd(simd: Path) -> None:
    """Every test of the contract that `imagefolder` passes on Pillow."""
    tests = Path(__file__).parents[2]
    pytest_here = [str(simd), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tests.parent)]
    contract = [str(tests / "loaders" / name) for name in ("test_contract.py", "pixels/test_pixels.py")]
    done = run(*pytest_here, *contract, "-k", "imagefolder", "-m", "not slow")

    assert " passed" in done.stdout
    assert "failed" not in done.stdout


def test_the_list_of_loaders_names_pillow_simd(simd: Path) -> None:
    """`feedline loaders` says which Pillow is at work, although both are on the path here."""
    command = "from feedline.cli.main import main; main()"
    here, there = (run(python, "-c", command, "loaders", "--json") for python in (sys.executable, str(simd)))
    found = [json.loads(done.stdout)["loaders"][0]["versions"]["pillow"] for done in (here, there)]

    assert "(SIMD)" not in found[0]
    assert found[1].endswith("(SIMD)")


def test_pixels_equal_pillows_and_the_speed_is_printed(simd: Path, photographs: Path, tmp_path: Path) -> None:
    """The same epoch in both environments, turn by turn, on one core; see the ratio with -s."""
    script = tmp_path / "epoch.py"
    script.write_text(EPOCH, encoding="utf-8")
    pythons = {"plain": sys.executable, "simd": str(simd)}
    rates: dict[str, list[float]] = {name: [] for name in pythons}
    for name in [*pythons] * ROUNDS:
        done = run(pythons[name], str(script), str(photographs), str(tmp_path / f"{name}.npz"), str(EPOCHS))
        found = json.loads(done.stdout)
        assert found["pillow"].endswith("(SIMD)") == (name == "simd")
        rates[name].append(found["rate"])
    plain, fast = (np.load(tmp_path / f"{name}.npz") for name in pythons)
    ratios = [b / a for a, b in zip(*rates.values(), strict=True)]
    print(f"\nimages/s, one core: Pillow {median(rates['plain']):.0f}, Pillow-SIMD {median(rates['simd']):.0f}; "
          f"ratio {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip

    assert np.array_equal(plain["indexes"], fast["indexes"])
    assert int(np.abs(plain["images"].astype(int) - fast["images"].astype(int)).max()) <= 1
