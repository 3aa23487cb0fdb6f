"""What Tab completes: ids of runs, backends, files; and the scripts by which shells ask for it.

Pressing Tab has to answer at once, so nothing here reads more than a few small files, loads pyarrow
or contacts a server.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

import click
from click.shell_completion import CompletionItem, get_completion_class

from mapred import backends
from mapred.errors import MapredError
from mapred.errors.escaping import visible

VARIABLE = "_MAPRED_COMPLETE"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")  # of a run; a shell shows no other one
_MOST = 200
_NEWEST_NAMED = 20  # of so many runs the name of the job is shown


def run_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return `last` and the newest runs of a local root; of a path, its continuation."""
    if "/" in incomplete or incomplete.startswith((".", "~")):
        return [CompletionItem(incomplete, type="dir")]
    root = ctx.params.get("root") or os.environ.get("MAPRED_ROOT") or "~/.mapred/runs"
    found = _newest(os.path.expanduser(root))
    matching = [name for name in found if name.startswith(incomplete)][:_MOST]
    items = [
        CompletionItem(name, help=_job_name(root, name) if number < _NEWEST_NAMED else None)
        for number, name in enumerate(matching)
    ]
    if found and "last".startswith(incomplete):
        items.insert(0, CompletionItem("last", help="the newest run"))
    return items


def _newest(root: str) -> list[str]:
    """Return the runs of a local root, newest first; none of a root on another machine."""
    from mapred.model import layout

    records = (layout.JOB, layout.PIPELINE)
    if "://" in root:
        return []
    try:
        with os.scandir(root) as entries:
            names = [
                entry.name
                for entry in entries
                if _NAME.fullmatch(entry.name)
                and (
                    entry.name[:8].isdigit()
                    or any(os.path.exists(os.path.join(entry.path, path)) for path in records)
                )
            ]
    except OSError:
        return []
    return sorted(names, reverse=True)


def _job_name(root: str, run: str) -> str | None:
    import json

    from mapred.model import layout

    for record in (layout.JOB, layout.PIPELINE):
        with suppress(OSError, ValueError, KeyError, TypeError):
            with open(os.path.join(os.path.expanduser(root), run, record), "rb") as file:
                name = json.load(file)["name"]
            # A shell reads the answer line by line.
            return " ".join(visible(str(name)).split())[:40] or None
    return None


def backend_names(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the backends that there are, and those of mapred.toml with their types."""
    from mapred.backends import config

    try:
        tables = dict(config.tables()[1])
    except (MapredError, OSError, AttributeError):
        tables = {}  # The command itself says what is wrong with the file.
    kinds = {
        name: f"{config.kind_of(name, table)}, of mapred.toml" for name, table in tables.items()
    }
    names = {**dict.fromkeys(backends.NAMES), **kinds}
    return [
        CompletionItem(name, help=about)
        for name, about in names.items()
        if name.startswith(incomplete)
    ]


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete paths of files."""
    return [CompletionItem(incomplete, type="file")]


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete paths of folders."""
    return [CompletionItem(incomplete, type="dir")]


@click.command(short_help="Print what makes a shell complete commands.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes commands, options, runs, backends and formats.

    Put the line of your shell into its start-up file:

    \b
    eval "$(mapred completion bash)"        # ~/.bashrc
    eval "$(mapred completion zsh)"         # ~/.zshrc, after compinit
    mapred completion fish | source         # ~/.config/fish/config.fish
    """
    cls = get_completion_class(shell)
    assert cls is not None
    click.echo(cls(ctx.find_root().command, {}, "mapred", VARIABLE).source())
