"""``feedline doctor``: what this machine has, what slows feedline down on it, and the commands that fix it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..prep import LoaderUnavailable, to_json
from ..prep.base.origins import folder_of, is_url
from .console import echo_json, printable, say
from .options import json_option

if TYPE_CHECKING:
    from ..benchmarks.doctor.finding import Finding

COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}


class DoctorTarget(click.Path):
    """An existing folder, or the text of a URL. A file:// URL is the folder that it names."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not is_url(value):
            return super().convert(value, param, ctx)
        folder = folder_of(value)
        return value if folder is None else super().convert(folder, param, ctx)


@click.command()
@click.argument("root", type=DoctorTarget(path_type=Path, exists=True, file_okay=False), default=".")
@json_option
@click.pass_context
def doctor(ctx: click.Context, root: "Path | str", as_json: bool) -> None:
    """Examine this machine and the disk that holds the folder ROOT; or the store behind the URL ROOT.

    \b
    Example:
      feedline doctor
      feedline doctor data --json
      feedline doctor s3://bucket/data

    ROOT is the current folder by default. Of a URL, the shards are read for some seconds: latency, ranges, bandwidth,
    listing, and where credentials are. Each finding has its consequence and the command that fixes it. The exit
    code is 1 if feedline cannot work on this machine, or with this store, else 0.
    """
    try:
        from ..benchmarks.doctor.doctor import run_checks, usable
        from ..benchmarks.doctor.machine_facts import collect_facts
    except (ImportError, OSError) as error:  # Windows raises OSError for a DLL that does not load
        raise LoaderUnavailable(
            f"a library that feedline needs cannot be loaded ({error}); "
            f"install it again with: pip install --force-reinstall torch torchvision numpy pillow psutil"
        ) from error
    if isinstance(root, Path):
        facts = collect_facts(root)
        found = run_checks(facts)
    else:
        from ..benchmarks.doctor.store_checks import check_store
        from ..benchmarks.doctor.store_facts import store_facts

        facts = store_facts(root)
        found = check_store(facts)
    if as_json:
        echo_json({"ok": usable(found), "findings": [to_json(finding) for finding in found], "facts": to_json(facts)})
    _show(found)
    ctx.exit(0 if usable(found) else 1)


def _show(found: "tuple[Finding, ...]") -> None:
    """Print the findings without wrapping, so that a command can be copied."""
    for finding in found:
        subject = f" {finding.subject:12} {printable(finding.found)}"  # a line break in a name is no new line
        say(subject, label=f"{finding.level:8}", colour=COLOURS[finding.level])
        for line in (finding.consequence, finding.mend and f"> {finding.mend}"):
            if line:
                say(f"{'':21} {printable(line)}")
    faults = sum(finding.level in ("warning", "problem") for finding in found)
    say(f"{faults} of {len(found)} findings need a fix" if faults else "No finding needs a fix")
