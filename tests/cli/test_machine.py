"""`mapred doctor` without a cluster: what it finds on this machine, and what it calls bad."""

from __future__ import annotations

import json
import os
import socket
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from cli.commands import call

import mapred
from mapred.cli import machine


def findings(*words: str | Path, code: int = 0) -> dict[str, tuple[str, str]]:
    """State and text of what was found, by what it is about."""
    report = json.loads(call("doctor", *words, "--json", code=code).stdout)
    assert report["ok"] == (code == 0)
    parts = [(each["state"], *each["what"].partition(": ")[::2]) for each in report["findings"]]
    return {about: (state, text) for state, about, text in parts}


def test_this_machine_is_fit(runs: Path) -> None:
    runs.mkdir()
    found = findings()
    assert all(state in ("ok", "-") for state, _ in found.values()), found
    assert found["mapred"][1].startswith(mapred.__version__)
    for package in ("pyarrow", "numpy", "rich"):
        assert f"{package} " in found["packages"][1]
    assert " of " in found["memory"][1]
    assert "free" in found["disk of the root"][1]
    assert str(runs) in found["root"][1]
    assert "refuses a second put" in found["root"][1]
    assert found["settings"][0] == "-"
    assert not any(runs.iterdir()), "the probe is gone"
    assert call("doctor").stdout.startswith("ok  python: ")


def test_a_root_is_not_made(runs: Path) -> None:
    assert "which the first run will create" in findings()["root"][1]
    assert not runs.exists()


def test_a_root_that_cannot_be_used(runs: Path) -> None:
    runs.write_text("a file")
    state, text = findings(code=1)["root"]
    assert (state, str(runs) in text) == ("bad", True)


def test_little_disk_is_bad(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage(10**12, 10**12, 10**6))
    assert findings(code=1)["disk of the root"] == ("bad", "1 MB of 1 TB free")


@pytest.mark.parametrize(
    ("group", "files", "limit"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "1048576\n"}, 1048576),
        ("0::/a/b\n", {"a/b/memory.max": "max\n"}, None),
        ("0::/gone\n", {"memory.max": "7"}, 7),
        ("4:cpu,memory:/x\n", {"memory/x/memory.limit_in_bytes": "9"}, 9),
        ("", {}, None),
    ],
)
def test_the_memory_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, files: Any, limit: int | None
) -> None:
    (tmp_path / "self").write_text(group)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "_GROUP", tmp_path / "self")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path)
    assert machine._memory_limit() == limit


def test_backends_of_the_settings(runs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        Path("mapred.toml").write_text(
            f'[backend.near]\ntype = "dask"\naddress = "tcp://127.0.0.1:{port}"\n'
            '[backend.gone]\ntype = "dask"\naddress = "tcp://127.0.0.1:1"\n'
            '[backend.prod]\ntype = "argo"\nkubeconfig = "/none"\n'
            '[backend.odd]\ntype = "arog"\n[backend.big]\ntype = "local"\nworkers = 9\n'
        )
        report = json.loads(call("doctor", "--json", code=1).stdout)
    texts = [f"{each['state']} {each['what']}" for each in report["findings"]]
    assert f"ok backend near: tcp://127.0.0.1:{port} answers" in texts
    assert any(
        text.startswith("bad backend gone: tcp://127.0.0.1:1 cannot be reached") for text in texts
    )
    assert any(text.startswith("bad backend prod: cluster: ") for text in texts)
    assert any(text.startswith("bad backend odd: ") and "'argo'" in text for text in texts)
    assert "ok backend big: local" in texts
    assert any(f"settings: {os.getcwd()}/mapred.toml names near, gone" in text for text in texts)


def test_broken_settings_are_named(runs: Path) -> None:
    Path("mapred.toml").write_text("[backend")
    assert findings(code=1)["settings"][0] == "bad"
