"""Progress in a terminal: what is seen of it, in a real one too."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from mapred.display import progress
from mapred.display.showing import page

JOB = """
import os, time, mapred
def slow(value):
    time.sleep(0.1)
    if os.environ.get("BAD") and value == 9:
        raise ValueError("[red]no[/red]")
    return value
if __name__ == "__main__":
    local = mapred.Local(workers=2)
    print(mapred.run(slow, mapred.items(range(20)), max_tasks=20, backend=local, root="runs").result())
"""
COMMANDS = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n])")


class Screen:
    """The lines that a terminal shows; it knows the commands that progress uses, and no others."""

    def __init__(self, width: int) -> None:
        self.width, self.lines, self.seen = width, [""], list[str]()
        self._x = self._y = 0

    def feed(self, text: str) -> None:
        end = 0
        for match in COMMANDS.finditer(text):
            assert match.start() == end, repr(text[end : end + 20])
            end = match.end()
            number, command, move, letter = match.groups()
            if letter:
                self._put(letter)
            elif move == "\n":
                self._y += 1
            elif move == "\r":
                self._x = 0
            elif command == "A":
                self._y -= int(number or 1)
            elif command == "K":
                assert number == "2"
                self.seen.append(self.lines[self._y])
                self.lines[self._y] = ""
            else:
                assert command == "m", match[0]  # a colour
            self.lines += [""] * (self._y + 1 - len(self.lines))
        assert end == len(text), repr(text[end:])

    def _put(self, letter: str) -> None:
        if self._x == self.width:
            self._x, self._y = 0, self._y + 1
            self.lines += [""] * (self._y + 1 - len(self.lines))
        line = self.lines[self._y].ljust(self._x)
        self.lines[self._y] = line[: self._x] + letter + line[self._x + 1 :]
        self._x += 1

    @property
    def text(self) -> str:
        """The lines joined where the terminal broke them."""
        broken = ("" if len(line) == self.width else "\n" for line in self.lines)
        return "".join(f"{line}{end}" for line, end in zip(self.lines, broken, strict=True))


def in_terminal(
    command: list[str], width: int, folder: Path, root: Path, stop_at: str = "", **env: str
) -> tuple[Screen, int]:
    """What a terminal shows of a command, and its exit status; Ctrl-C is typed once it shows `stop_at`."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    # The terminal that the leader of a session opens first is the one whose Ctrl-C reaches it.
    name = os.ttyname(terminal)
    sizes = {"COLUMNS", "LINES"}  # what these say counts before the size of the terminal
    ours = {key: value for key, value in os.environ.items() if key not in sizes}
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" <{name} >{name} 2>&1', "sh", *command],
        cwd=folder,
        env={**ours, "PYTHONPATH": str(root), "TERM": "xterm", **env},
        start_new_session=True,
    )
    # Read errors end the loop below, once the command has closed the terminal.
    while process.poll() is None and not select.select([main], [], [], 0.05)[0]:
        pass
    os.close(terminal)
    shown, deadline = "", time.monotonic() + 60
    data = b""
    while time.monotonic() < deadline:
        if not select.select([main], [], [], 1)[0]:
            continue
        try:
            data += os.read(main, 65536)
        except OSError:  # Linux' word for the end
            break
        shown = data.decode(errors="ignore")
        if stop_at and re.search(stop_at, shown):
            os.write(main, b"\x03")
            stop_at = ""
    os.close(main)
    status = process.wait(30)
    screen = Screen(width)
    screen.feed(shown)
    return screen, status


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    (tmp_path / "job.py").write_text(JOB)
    return [sys.executable, "job.py"]


@pytest.mark.parametrize("width", [40, 120])
def test_a_run_leaves_its_summary(
    script: list[str], width: int, tmp_path: Path, root: Path
) -> None:
    screen, status = in_terminal(script, width, tmp_path, root)
    assert status == 0
    words = " ".join(screen.text.split())
    assert re.fullmatch(r"Run \S+ succeeded: 20 map tasks, .+ in \S+ s \[0, 1, .+\]", words)
    assert any(re.match(r"(slow  )?map  ━+.*  \d+/20", line) for line in screen.seen), screen.seen
    assert all(len(line) < width for line in screen.seen if "map  " in line)


@pytest.mark.parametrize("width", [40, 120])
def test_ctrl_c_leaves_a_clean_terminal(
    script: list[str], width: int, tmp_path: Path, root: Path
) -> None:
    screen, status = in_terminal(script, width, tmp_path, root, stop_at=r" ([3-9]|1[0-7])/20")
    assert status == 1
    words = " ".join(screen.text.split())
    assert re.match(r"Run \S+ interrupted: \d+ of 20 map tasks, ", words)
    assert "\nstopped; to resume: import mapred" in screen.text
    assert "━" not in screen.text
    assert "^C" not in screen.text


def test_the_command_line_leaves_a_clean_terminal(
    script: list[str], tmp_path: Path, root: Path
) -> None:
    words = ["run", "job.py:slow", "20", "--format", "array", "--root", "runs", "--max-tasks", "20"]
    command = [sys.executable, "-m", "mapred", *words, "--workers", "2"]
    screen, status = in_terminal(command, 80, tmp_path, root, stop_at=r" ([3-9]|1[0-7])/20")
    assert status == 130
    assert re.match(r"\nRun \S+ suspended: \d+ of 20 map tasks, ", screen.text)
    assert "━" not in screen.text


def test_an_error_is_shown_as_it_is(script: list[str], tmp_path: Path, root: Path) -> None:
    screen, status = in_terminal(script, 100, tmp_path, root, BAD="1")
    assert status == 1
    assert re.match(r"Run \S+ failed: ", screen.text)
    assert "ValueError: [red]no[/red]" in screen.text
    assert "━" not in screen.text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_is_written_over(sample, clock, monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    out = Terminal()
    show = progress("auto", out, clock=clock)
    for done in range(101):
        show(sample.at(done))
        clock.now += 0.05
    show.close(sample.status())
    screen = Screen(80)
    screen.feed(out.getvalue().replace("\n", "\r\n"))
    assert 30 < len(screen.seen) < 60
    assert re.fullmatch(
        r"count_words  map  ━+╸?━*  \d+/100  \d+ kB of 1 MB  \d s elapsed  \d s left",
        screen.seen[15],
    )
    assert "1 failed" in screen.seen[30]
    (line,) = filter(None, screen.lines)
    assert line.endswith("succeeded: 43 map tasks, 1 reduce, 694 MB in 13.2 s")


def test_a_line_is_written_at_most_ten_times_a_second(sample, clock) -> None:
    out = Terminal()
    show = progress("bar", out, clock=clock)
    show(sample.at(1))
    written = len(out.getvalue())
    clock.now += 0.05
    show(sample.at(2))
    assert len(out.getvalue()) == written


def test_the_cursor_is_never_hidden(sample, clock) -> None:
    """A process that is killed could not bring it back."""
    out = Terminal()
    show = progress("bar", out, clock=clock)
    show(sample.at(1))
    show.close()
    assert "\x1b[?" not in out.getvalue()


@pytest.mark.parametrize("width", ["40", "120"])
def test_names_command_neither_rich_nor_the_terminal(sample, clock, monkeypatch, width) -> None:
    monkeypatch.setenv("COLUMNS", width)
    out = Terminal()
    evil = "[red]\x1b[31m:smile:\u202e"
    (stage, last) = sample.at(50).stages
    stages = (type(stage)(evil, stage.total, stage.done), last)
    show = progress("bar", out, clock=clock)
    show(sample.at(50, stages=stages, state="queued", message=evil))
    assert r"[red]\x1b[31m:smile:\u202e" in out.getvalue()
    assert "\x1b[31m" not in out.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "gbk"])
def test_a_terminal_without_the_characters(sample, clock, encoding) -> None:
    raw = io.BytesIO()
    show = progress("bar", io.TextIOWrapper(raw, encoding=encoding), clock=clock)
    show(sample.at(50))
    assert b"50/100" in raw.getvalue()
    assert b"?" not in raw.getvalue()


FACTS = (
    "count_words", "map", "50/100", "500 kB of 1 MB", "96.2 kB/s", "5 s elapsed", "6 s left", "1 failed",
)  # fmt: skip


@pytest.mark.parametrize("width", range(24, 130, 7))
def test_a_narrow_terminal_leaves_out_whole_facts(sample, clock, monkeypatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = Terminal()
    show = progress("bar", out, clock=clock)
    show(sample.at(0))
    clock.now += 5.2
    show(sample.at(50))
    screen = Screen(width)
    screen.feed(out.getvalue())
    (line,) = screen.lines
    assert len(line) < width
    facts = [fact for fact in line.split("  ") if fact and "━" not in fact]
    assert facts == [fact for fact in FACTS if fact in facts], "whole ones, in their order"
    assert set(facts) >= {"map", "50/100", *(["1 failed"] if width > 27 else [])}
    assert (facts == list(FACTS)) == (width > 100)


def test_a_page_is_written_over_twice_a_second(sample, clock, monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "24")
    out = Terminal()
    show = page(out, clock=clock)
    for done in range(0, 101, 10):
        show(sample.at(done, times=sample.times(done, 2)))
        clock.now += 0.3
    screen = Screen(60)
    screen.feed(out.getvalue().replace("\n", "\r\n"))
    assert out.getvalue().count("running") == 6
    assert screen.lines[0].startswith("Run 20261124-160501-3f9c2e1b running: 100 map tasks, 0 of")
    assert any(line.startswith("  w-0") for line in screen.lines), screen.lines
    show.close(sample.status())
    screen = Screen(60)
    screen.feed(out.getvalue().replace("\n", "\r\n"))
    assert not "".join(screen.lines).strip(), "the caller prints the end"


def test_a_pipe_does_without_rich(tmp_path: Path, root: Path) -> None:
    script = JOB + "    import sys; sys.exit('rich' in sys.modules)"
    (tmp_path / "job.py").write_text(script)
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "job.py"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout[:6]) == (0, "[0, 1,"), done.stderr
    assert done.stderr.splitlines()[-1].startswith("Run ")  # after lines of progress, if it is slow
