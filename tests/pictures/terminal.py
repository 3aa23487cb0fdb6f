"""Commands in a terminal of their own, and what it shows as SVG."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from pictures.home import Home

SECONDS = 120.0
WIDTH = 100
_THEME = TerminalTheme(
    (24, 27, 33),
    (216, 222, 233),
    [
        (59, 66, 82), (240, 113, 120), (135, 200, 128), (235, 190, 110),
        (110, 170, 245), (200, 150, 235), (110, 205, 215), (216, 222, 233),
    ],
    [
        (120, 130, 150), (250, 135, 140), (160, 220, 150), (245, 205, 130),
        (140, 190, 255), (215, 170, 245), (140, 220, 230), (240, 244, 250),
    ],
)  # fmt: skip
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
# As rich's own, without fonts from elsewhere, and without the clip that cuts the last line short.
_FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">
<title>TITLE</title>
<style>
.{unique_id}-matrix {{ font-family: FONTS; font-size: {char_height}px; line-height: {line_height}px }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 16px; font-weight: bold }}
{styles}
</style>
<defs>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


@dataclass(frozen=True)
class Command:
    """A line that is typed; `status` is the exit code that it has to end with.

    When it wrote what `until` matches, the picture is taken and the command stopped. When it asked
    the first text of `reply`, the second is typed.
    """

    line: str
    status: int = 0
    until: str | None = None
    reply: tuple[str, str] | None = None


def screen(home: Home, commands: Sequence[Command | str], width: int = WIDTH) -> Text:
    """What a terminal shows after these commands."""
    shown = Text()
    for command in commands:
        command = Command(command) if isinstance(command, str) else command
        shown.append_text(Text.from_markup(f"[bold green]$[/] [bold]{command.line}[/]\n"))
        printed = home.shown(settled(typed(home, command, width)))
        shown.append_text(Text.from_ansi(printed.rstrip("\n")))
        shown.append("\n\n" * (command != commands[-1]))
    return shown


def svg(shown: Text, name: str, title: str, width: int = WIDTH) -> str:
    """The picture of a terminal; `name` makes its ids, which are the same each time."""
    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(shown, soft_wrap=False)
    form = _FORMAT.replace("TITLE", escape(title)).replace("FONTS", _FONTS)
    made = console.export_svg(title=title, theme=_THEME, code_format=form, unique_id=name)
    return re.sub(r"[ \t]+$|\n\s*\n", "", made, flags=re.M)


def typed(home: Home, command: Command, width: int) -> str:
    """What one command writes to a terminal, with its control sequences."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {**home.environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    process = subprocess.Popen(
        ["bash", "-c", command.line],
        cwd=home.work,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    limit, content = time.monotonic() + SECONDS, b""
    seen, reply = False, command.reply
    while not seen and time.monotonic() < limit:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            content += os.read(ours, 65536)
        except OSError:  # the last process closed the terminal
            break
        if reply and reply[0].encode() in content:
            os.write(ours, reply[1].encode())
            reply = None
        seen = command.until is not None and bool(re.search(command.until.encode(), content))
    if seen:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    elif process.wait(10) != command.status or command.until is not None:
        raise RuntimeError(f"$ {command.line} ended with {process.returncode}:\n{content.decode()}")
    os.close(ours)
    return content.decode(errors="replace").replace("\r\n", "\n")


def settled(text: str) -> str:
    """The lines that a terminal still shows, of those that were written over."""
    lines, row = [""], 0
    for token in re.split(r"(\n|\r|\x1b\[\d*[AK]|\x1b\[\?25[hl])", text):
        if token == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif token.endswith("A") and token.startswith("\x1b"):
            row = max(0, row - int(token[2:-1] or 1))
        elif token.endswith("K") and token.startswith("\x1b"):
            lines[row] = ""
        elif token != "\r" and not token.startswith("\x1b[?"):
            lines[row] += token
    return "\n".join(lines)
