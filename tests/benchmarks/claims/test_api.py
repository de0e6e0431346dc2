"""docs/api.md is what the docstrings say, and the pages around it are right about the formats."""

import re
from importlib import import_module

import pytest

import feedline
from feedline.benchmarks.claims import api
from feedline.benchmarks.measuring.record import SCHEMA
from feedline.prep import Manifest, ShardManifest
from feedline.train.checkpoint import About

STABILITY = (api.TOP / "docs" / "stability.md").read_text("utf-8")


def test_the_committed_page_is_current() -> None:
    """After a change of a docstring, the command of the page writes it again."""
    assert api.PAGE.read_text("utf-8") == api.page(), "run: python -m feedline.benchmarks.claims.api"


@pytest.mark.parametrize("floor", api.FLOORS)
def test_every_public_name_is_on_the_page(floor: str) -> None:
    """In the section of its package, as Python exports it."""
    section = api.page().partition(f"\n## feedline.{floor}\n")[2].partition("\n## ")[0]
    assert re.findall(r"^### (\w+)$", section, re.MULTILINE) == import_module(f"feedline.{floor}").__all__


def test_the_names_of_the_front_door_have_links() -> None:
    """Each leads to a heading."""
    page = api.page()
    front = page.partition("\n## feedline\n")[2].partition("\n## ")[0]
    linked = re.findall(r"\[`(\w+)`\]\(#(\w+)\)", front)
    assert {name for name, _ in linked} | {"__version__", "train"} == set(feedline.__all__)
    assert all(f"\n### {name}\n" in page and anchor == name.lower() for name, anchor in linked)


def test_a_name_without_a_docstring_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """It says where the text is missing."""
    monkeypatch.setattr(api, "_tree", lambda path: __import__("ast").parse("LIMIT = 3\n"))
    with pytest.raises(api.Undocumented, match="LIMIT needs a docstring below it"):
        api._definition("LIMIT", api.PAGE)


def test_the_stated_versions_are_those_of_the_code() -> None:
    """Of manifests, records and checkpoints."""
    assert Manifest.version == ShardManifest.version == About.version == 1
    assert f"| records of `bench` | `schema: {SCHEMA}` |" in STABILITY
    assert "| checkpoints | `version: 1` |" in STABILITY
