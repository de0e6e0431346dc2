"""``feedline loaders``: what is ready, and what to install for the rest."""

from typing import Any

import click

from .console import echo_json, json_option, say


@click.command()
@json_option
def loaders(as_json: bool) -> None:
    """List the loaders: ready with their versions, or the command that installs what is missing."""
    from ..loaders import LOADERS, loader_versions
    from ..prep import LoaderUnavailable

    rows: list[dict[str, Any]] = []
    for name, entry in LOADERS.items():
        try:
            versions = loader_versions(name)
            state = "ready: " + ", ".join(f"{library} {version}" for library, version in versions.items())
            rows.append({"loader": name, "ready": True, "versions": versions})
        except LoaderUnavailable:
            state = f"missing; {entry.remedy}"
            rows.append({"loader": name, "ready": False, "install": entry.install})
        say(f"{name:12} {entry.summary} (reads {entry.needs})\n{'':12} {state}")
    if as_json:
        echo_json({"loaders": rows})
