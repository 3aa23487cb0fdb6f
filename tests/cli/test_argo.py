"""The commands about Argo Workflows that need no cluster."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from cli.commands import call

from mapred.cli import main


def test_every_command_of_argo_has_help() -> None:
    group = main.commands["argo"]
    assert isinstance(group, click.Group)
    for name in group.commands:
        text = call("argo", name, "--help").stdout
        assert f"mapred argo {name}" in text
        assert "--traceback" in text


def test_render_prints_what_lint_passes(job_file: str, tmp_path: Path) -> None:
    place = ("--root", "s3://team/runs", "--max-tasks", "3")
    rendered = call("render", job_file, "--job", "job", *place)
    assert rendered.stdout.startswith("apiVersion: argoproj.io/v1alpha1\n")
    assert "loading the file" not in rendered.stdout
    assert 'count: "3"' in rendered.stdout
    (tmp_path / "w.yaml").write_text(rendered.stdout)
    assert "1 object in 1 file: 0 problems" in call("lint", "w.yaml").output


def test_lint_names_every_problem(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "a.yaml").write_text("kind: Workflow\nmetadata: {name: no}\n")
    (folder / "b.yml").write_text("a: [")
    (folder / "c.yaml").write_text("# nothing\n")
    checked = call("lint", "flows", code=1)
    assert "flows/a.yaml: spec.templates: there is none" in checked.stdout
    assert "flows/b.yml: flows/b.yml is not YAML" in checked.stdout
    assert "flows/c.yaml: it holds no object" in checked.stdout
    assert "were not checked" in checked.stderr


def test_lint_asks_argo_where_it_is(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "argo"
    program.write_text('#!/bin/sh\necho "$5: in n (Workflow): no template"; exit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    template = "{name: a, container: {image: a, command: [a]}}"
    (tmp_path / "w.yaml").write_text(
        f"kind: Workflow\nmetadata: {{name: a}}\nspec: {{templates: [{template}]}}\n"
    )
    checked = call("lint", "w.yaml", code=1)
    assert checked.stdout == "w.yaml: in n (Workflow): no template\n"
    assert "argo lint saw them too" in checked.stderr
    program.write_text("#!/bin/sh\nexit 0\n")
    assert "0 problems; argo lint saw them too" in call("lint", "w.yaml").stdout


def test_rights_and_claims_are_printed_for_kubectl(runs: Path, tmp_path: Path) -> None:
    printed = call("argo", "rbac", "-n", "team")
    assert printed.stdout.count("namespace: team") >= 8
    assert "workflowtaskresults" in printed.stdout
    (tmp_path / "mapred.toml").write_text("[backend.two]\ntype = 'local'\n")
    assert "runs no pods" in call("argo", "rbac", "--backend", "two", code=2).stderr
    claim = call("argo", "claim", "nas", "nas://server/share", "-n", "team")
    assert "nasplugin.csi.alibabacloud.com" in claim.stdout
    assert "oss://bucket/path" in call("argo", "claim", "nas", "s3://b", code=2).stderr
