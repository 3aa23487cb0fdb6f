"""A JupyterLab of this machine, with folders of its own and one kernel: this Python."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed.sharing import Plan, free_ports

KERNEL = "mapred"
ROOT = Path(__file__).parents[3]
# What the lab is asked to do without: news, hints, and cells that are drawn only when looked at.
_SETTINGS: dict[str, dict[str, Any]] = {
    "apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
}
_THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


def plan(home: Path, theme: str = "light", variables: Mapping[str, str] | None = None) -> Plan:
    """How to start one; notebooks lie in `home/work`, and kernels see `variables`."""
    for name in ("jupyterlab", "ipykernel"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")
    (port,) = free_ports(1)
    token = secrets.token_hex(16)
    for name in ("work", "config", "runtime", "workspaces"):
        (home / name).mkdir(parents=True)
    _write_kernel(home, variables or {})
    _write_settings(home, theme)
    known = {"url": f"http://127.0.0.1:{port}", "token": token, "work": str(home / "work")}
    environment = {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_TOKEN": token,
    }
    server = ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    server += ["--ServerApp.open_browser=False", f"--ServerApp.root_dir={home / 'work'}"]
    server += ["--ServerApp.terminals_enabled=False", "--allow-root"]
    lab = ["--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"]
    lab += [f"--LabApp.user_settings_dir={home / 'settings'}"]
    lab += [f"--LabApp.workspaces_dir={home / 'workspaces'}"]
    settings = [f"{name}={value}" for name, value in environment.items()]
    command = ["env", *settings, sys.executable, "-m", "jupyterlab", *server, *lab]
    return command, known, f"{known['url']}/api"


def _write_kernel(home: Path, variables: Mapping[str, str]) -> None:
    folder = home / "data" / "kernels" / KERNEL
    folder.mkdir(parents=True)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
        "env": {"PYTHONPATH": path, "MAPRED_ROOT": str(home / "runs"), **variables},
    }
    (folder / "kernel.json").write_text(json.dumps(spec))


def _write_settings(home: Path, theme: str) -> None:
    settings = {**_SETTINGS, "apputils-extension/themes": {"theme": _THEMES[theme]}}
    for name, values in settings.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
