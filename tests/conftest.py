"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project itself."""
    return ROOT


@pytest.fixture(autouse=True)
def _runs_in_a_folder_of_their_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test leaves runs in the user's home."""
    monkeypatch.setenv("MAPRED_ROOT", str(tmp_path_factory.mktemp("runs")))
