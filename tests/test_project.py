"""What people who come to the repository read first fits what is in it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/*.md")])
FORMS = sorted(ROOT.glob(".github/ISSUE_TEMPLATE/*.yml"))
LINK = re.compile(r"\[[^]]*\]\((?![a-z]+://)([^)#\s]+)(#[^)\s]*)?\)")


def loaded(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_link_to_what_is_there(page: Path) -> None:
    targets = [match[1] for match in LINK.finditer(page.read_text())]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "RELEASING.md", "Makefile"])
def test_targets_of_make_that_pages_name_exist(page: str) -> None:
    named = re.findall(r"(?:`|^#   |\$ |  )make ([a-z][a-z-]*)", (ROOT / page).read_text(), re.M)
    assert named
    done = subprocess.run(
        ["make", "--dry-run", *named], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_workflow_runs_what_has_to_pass_with_all_tags() -> None:
    steps = loaded(".github/workflows/ci.yml")["jobs"]["all"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["bash .ci/run"]
    (checkout,) = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert checkout["with"]["fetch-depth"] == 0


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_forms_ask_for_what_they_require(form: Path) -> None:
    asked = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= asked.keys()
    fields = [field for field in asked["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert len(ids) == len(set(ids))
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_hooks_run_programs_that_the_lock_brings() -> None:
    lock = (ROOT / "requirements-dev.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.M))
    hooks = [hook for repo in loaded(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    programs = {hook["entry"].split()[0] for hook in hooks if hook["language"] == "system"}
    assert all(program.startswith(".venv/bin/") for program in programs)
    assert {".venv/bin/ruff", ".venv/bin/mypy"} <= programs
    assert {"ruff", "mypy", "pre-commit", "pre-commit-hooks"} <= locked
