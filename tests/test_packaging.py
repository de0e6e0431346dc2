"""The package is what pyproject.toml says."""

import ast
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
FLOORS = ["prep", "loaders", "train", "benchmarks", "cli"]  # from the ground up: imports only run down
PYPROJECT = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))


def test_the_map_of_packages_is_the_folders() -> None:
    """Folders with Python modules, the package list and the package-dir table are the same set."""
    setuptools = PYPROJECT["tool"]["setuptools"]
    # Only from folders that are packages themselves: build/ and a virtual environment may lie here too.
    tops = [path.parent for path in TOP.glob("*/__init__.py")]
    folders = {path.parent.relative_to(TOP).as_posix() for top in tops for path in top.rglob("__init__.py")}

    assert {f"feedline.{folder.replace('/', '.')}" for folder in folders} == set(setuptools["packages"])
    assert setuptools["package-dir"] == {f"feedline.{folder.replace('/', '.')}": folder for folder in folders}
    assert not list(TOP.glob("*.py"))


@pytest.mark.parametrize("folder", FLOORS)
def test_imports_run_down_the_floors_only(folder: str) -> None:
    """A module imports from its own folder and from those below, relatively."""
    allowed = set(FLOORS[: FLOORS.index(folder)])
    for path in sorted((TOP / folder).rglob("*.py")):
        depth = len(path.relative_to(TOP / folder).parts)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level > depth:
                assert (node.module or "").partition(".")[0] in allowed, f"{path}:{node.lineno}"
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not any(name.partition(".")[0] == "feedline" for name in names), f"{path}:{node.lineno}"


@pytest.mark.parametrize("folder", FLOORS)
def test_every_module_says_what_it_is(folder: str) -> None:
    """A docstring that begins with a sentence opens each module."""
    for path in sorted((TOP / folder).rglob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""

        first = docstring.partition("\n\n")[0]
        assert len(first.split()) > 3, path
