"""The package is what pyproject.toml says, its rooms are in order, and one package is imported from everywhere."""

import ast
import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import feedline

TOP = Path(__file__).resolve().parent.parent
FLOORS = ["prep", "loaders", "train", "benchmarks", "cli"]  # from the ground up: imports only run down
PYPROJECT = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))
UNSHIPPED = {"benchmarks/claims"}
MOST_MODULES = 18  # of one room; design wants about fifteen

ROOMS = sorted(path.parent for floor in FLOORS for path in (TOP / floor).rglob("__init__.py"))
MODULES = sorted(path for floor in FLOORS for path in (TOP / floor).rglob("*.py"))


def modules_of(floor: str) -> list[Path]:
    return [path for path in MODULES if path.is_relative_to(TOP / floor)]


def name_of(path: Path) -> str:
    """Return the dotted name of a module below the top, such as "prep.base.errors"."""
    parts = path.relative_to(TOP).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (dotted name, line) of what a module imports from feedline, in its functions too.

    A name below the top is as ``name_of`` returns it; one of the top package itself begins with "feedline.".
    """
    package = [*path.relative_to(TOP).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            if node.module:
                yield ".".join([*base, node.module]), node.lineno
            else:
                yield from ((".".join([*(base or ["feedline"]), alias.name]), node.lineno) for alias in node.names)


def room_of(module: str) -> str:
    """Return the room of a module; a module that lies on a floor itself is a room of its own."""
    path = TOP.joinpath(*module.split("."))
    return module if path.is_dir() or len(path.parent.relative_to(TOP).parts) == 1 else module.rpartition(".")[0]


def test_the_map_of_packages_is_the_folders() -> None:
    """Folders with Python modules, the package list and the package-dir table are the same set."""
    setuptools = PYPROJECT["tool"]["setuptools"]
    # Only from folders that are packages themselves: build/ and a virtual environment may lie here too.
    tops = [path.parent for path in TOP.glob("*/__init__.py")]
    folders = {path.parent.relative_to(TOP).as_posix() for top in tops for path in top.rglob("__init__.py")}
    shipped = {f"feedline.{folder.replace('/', '.')}": folder for folder in folders - UNSHIPPED} | {"feedline": "."}

    assert set(shipped) == set(setuptools["packages"])
    assert setuptools["package-dir"] == shipped
    assert [path.name for path in TOP.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_run_down_the_floors_only(floor: str) -> None:
    """A module imports from its own floor and from those below, relatively, and from no floor's own __init__ above it.

    A floor's __init__ imports its modules. So they cannot import it: they take a name from the module that defines it.
    Of the top package itself every floor may import the version, and nothing else: its other names are lazy.
    """
    allowed = set(FLOORS[: FLOORS.index(floor) + 1])
    for path in modules_of(floor):
        for module, line in imports_of(path):
            assert module.partition(".")[0] in allowed or module == "feedline.__version__", f"{path}:{line}"
            assert module != floor, f"{path}:{line}"
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not any(name.partition(".")[0] == "feedline" for name in names), f"{path}:{node.lineno}"


@pytest.mark.parametrize("floor", FLOORS)
def test_between_the_rooms_of_a_floor_imports_run_in_one_direction(floor: str) -> None:
    """The rooms of a floor form no circle; what a floor's __init__ exports is not part of the graph."""
    graph: dict[str, set[str]] = {}
    for path in modules_of(floor):
        room = room_of(name_of(path))
        if room == floor:
            continue
        used = {room_of(module) for module, _ in imports_of(path) if module.startswith(f"{floor}.")}
        graph.setdefault(room, set()).update(used - {room, floor})

    assert set(TopologicalSorter(graph).static_order()) >= set(graph)  # raises CycleError, which names the circle


@pytest.mark.parametrize("floor", FLOORS)
def test_every_module_says_what_it_is(floor: str) -> None:
    """A docstring that begins with a sentence opens each module, and each room says what belongs there."""
    for path in modules_of(floor):
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""

        assert len(docstring.partition("\n\n")[0].split()) > 3, path
        if path.name == "__init__.py" and path.parent != TOP / floor:
            assert "\n\n" in docstring, f"{path}: say in a second paragraph what belongs there, and what does not"


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(TOP).as_posix())
def test_no_room_is_crowded(room: Path) -> None:
    """A room of more modules wants a wall."""
    assert len([path for path in room.glob("*.py") if path.name != "__init__.py"]) <= MOST_MODULES


def test_tests_that_run_alone_are_where_ci_looks_for_them() -> None:
    """CI leaves them out of the tests that run side by side, and then runs those of one folder."""
    marked = [path for path in (TOP / "tests").rglob("test_*.py") if "pytest.mark.measures" in path.read_text("utf-8")]
    alone = TOP / "tests" / "benchmarks"

    assert "\npytest tests/benchmarks -m measures\n" in (TOP / ".ci" / "run").read_text("utf-8")
    assert alone in {parent for path in marked for parent in path.parents}
    assert [path for path in marked if path != Path(__file__) and not path.is_relative_to(alone)] == []


def test_the_front_door_has_what_it_names() -> None:
    """Every public name is importable, listed by dir(), and documented; a wrong one raises AttributeError."""
    for name in feedline.__all__:
        assert getattr(feedline, name).__doc__ or name == "__version__", name
        assert name in dir(feedline)

    assert callable(feedline.train)
    with pytest.raises(AttributeError, match="'opem_loader'"):
        feedline.opem_loader  # noqa: B018


def test_the_front_door_is_light() -> None:
    """Importing feedline imports neither torch, nor numpy, nor any of our own floors."""
    code = "import sys, feedline; print([m for m in sys.modules if m.startswith(('torch', 'numpy', 'feedline.'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_types_and_names_of_the_front_door_agree() -> None:
    """What type checkers see under TYPE_CHECKING is what __getattr__ gives."""
    tree = ast.parse((TOP / "__init__.py").read_text("utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname
        for block in guarded
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert seen | {"__version__"} == set(feedline.__all__)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this checkout, in a folder named feedline, as after git clone."""
    place = tmp_path_factory.mktemp("parent") / "feedline"
    ignored = shutil.ignore_patterns(
        ".git", "records", "build", "dist", "*.egg-info", "__pycache__", ".*", "tests", "demo"
    )
    return Path(shutil.copytree(TOP, place, ignore=ignored))


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(clone, out / "source")  # building leaves build/ behind
    pip = [sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "--no-build-isolation", "-w", str(out), str(source)]
    subprocess.run(pip, check=True, capture_output=True)
    return next(out.glob("feedline-*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_feedline_alone(wheel: Path) -> None:
    """No tests, no benchmarks/claims, no other top-level name; templates and tables are in it."""
    names = zipfile.ZipFile(wheel).namelist()
    modules = {name for name in names if name.startswith("feedline/") and name.endswith(".py")}
    unshipped = tuple(TOP / folder for folder in UNSHIPPED)
    shipped = [path for path in MODULES if not path.is_relative_to(unshipped[0])]

    assert {name.partition("/")[0] for name in names} == {"feedline", f"feedline-{feedline.__version__}.dist-info"}
    assert modules == {f"feedline/{path.relative_to(TOP).as_posix()}" for path in [TOP / "__init__.py", *shipped]}
    assert {"feedline/py.typed", "feedline/benchmarks/report/report.html.j2"} <= set(names)
    assert "feedline/prep/labels/ilsvrc2012_val_labels.xz" in names
    recipes = {f"feedline/train/recipes/{path.name}" for path in (TOP / "train" / "recipes").glob("*.toml")}
    assert {name for name in names if name.endswith(".toml")} == recipes


@pytest.mark.slow
@pytest.mark.parametrize("editable", [False, True], ids=["wheel", "editable"])
def test_one_consistent_package_is_imported_from_everywhere(
    editable: bool, clone: Path, wheel: Path, tmp_path: Path
) -> None:
    """From the root, from the clone and from its parent: all modules come from one place, with one version."""
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=sys.platform != "win32")
    scheme = {"base": str(environment), "platbase": str(environment), "installed_base": str(environment)}
    python = Path(sysconfig.get_path("scripts", "venv", scheme)) / (
        "python.exe" if sys.platform == "win32" else "python"
    )
    # The libraries of the running environment, without what its own .pth files add, which is feedline itself.
    own = Path(sysconfig.get_path("purelib", "venv", scheme))
    (own / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    what = ["-e", str(clone)] if editable else [str(wheel)]
    pip = [sys.executable, "-m", "pip", "-q", "--python", str(python), "install", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, *what], check=True, capture_output=True)
    code = (
        "import json, pathlib, feedline; from feedline.prep.base import errors; from feedline.cli import main;"
        "places = [feedline, errors, main]; door = feedline.FeedlineError is errors.FeedlineError;"
        "tops = {str(pathlib.Path(m.__file__).resolve().parents[max(0, m.__name__.count('.') - 1)]) for m in places};"
        "print(json.dumps([sorted(tops), door, feedline.__version__]))"
    )
    for place in (Path(clone.anchor), clone, clone.parent):
        done = subprocess.run([python, "-c", code], cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        tops, door, version = json.loads(done.stdout)

        assert len(tops) == 1, place
        assert door
        assert version == feedline.__version__
