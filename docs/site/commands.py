"""The page of the command line, made from the help of the commands."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import click

from mapred.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

PAGE, PLACE = "reference/command-line.md", "<!-- commands -->"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the commands into their page."""
    if page.file.src_uri != PAGE:
        return markdown
    return markdown.replace(PLACE, "\n\n".join(described(main, "mapred", None)))


def described(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    """Yield the parts of a page on a command and on those below it."""
    settings = command.context_settings
    context = click.Context(command, info_name=name, parent=parent, **settings)
    inner = command.list_commands(context) if isinstance(command, click.Group) else []
    if parent is not None:
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        yield f"## {context.command_path}"
        yield f"```text\n{usage}\n```"
        yield from paragraphs(command.help or "")
        yield from options(command, context)
    for each in inner:
        found = command.get_command(context, each) if isinstance(command, click.Group) else None
        if found is not None and not found.hidden:
            yield from described(found, each, context)


def paragraphs(help: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; those that keep their lines are code."""
    for part in re.split(r"\n\s*\n", inspect.cleandoc(help)):
        kept = [line for line in part.splitlines() if line.strip() != "\b"]
        yield f"```sh\n{chr(10).join(kept)}\n```" if "\b" in part else escaped(" ".join(kept))


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the table of a command's options."""
    records = [each.get_help_record(context) for each in command.get_params(context)]
    rows = [f"| `{names}` | {escaped(text)} |" for names, text in filter(None, records) if text]
    if rows:
        yield "\n".join(["| option | what it does |", "|---|---|", *rows])


def escaped(text: str) -> str:
    """Return a text in which nothing is markup but code between backticks."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(
        part.replace("|", r"\|") if part[:1] == "`" else re.sub(r"([\\*_|<\[\]])", r"\\\1", part)
        for part in parts
    )
