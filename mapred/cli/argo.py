"""The commands about Argo Workflows that need no cluster: render, lint, argo rbac, argo claim."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import click

from mapred import backends
from mapred.cli import completing
from mapred.cli.datasets import Words, job_options
from mapred.cli.options import (
    root_option,
    traceback_option,
)
from mapred.cli.reports import FAILED, say
from mapred.display.format import pluralize
from mapred.errors import BackendError, MissingDependency

_LINT_SECONDS = 120

backend_option = click.option(
    "--backend",
    default="argo",
    metavar="NAME",
    shell_complete=completing.backend_names,
    help="argo (the default), or a name of mapred.toml.",
)


@click.command(short_help="Print a job as an Argo Workflow.")
@job_options
@backend_option
@root_option
@traceback_option
def render(
    words: Words,
    backend: str,
    root: str | None,
) -> None:
    """Print the Argo Workflow that `mapred run TARGET --backend argo` would submit, as YAML.

    Nothing is written and no cluster is asked. The dataset is listed, as the number of its
    shards decides the loop. Parameters are those of `mapred submit`.

    \b
    mapred render recipes/word_count.py --root s3://team/runs
    mapred render counting.py:count_words 's3://logs/*.gz' --backend prod > workflow.yaml
    """
    from mapred.cli import jobs

    with redirect_stdout(sys.stderr):
        text = jobs.job_of(words).render(backend=backend, root=root)
    say(text, nl=False)


@click.command(short_help="Check Argo Workflows before a cluster does.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True))
@traceback_option
def lint(files: Sequence[str]) -> None:
    """Check the Workflows in FILEs (YAML; of a folder, every .yaml and .yml in it).

    These checks find what Argo's own linter accepts: limits, retry settings, patches, names
    that YAML reads as something else. Where the program `argo` is installed its linter runs
    as well, which checks references and unknown fields; the last line says what was run.
    The exit code is 1 if anything was found.

    \b
    mapred render recipes/word_count.py --root s3://team/runs > w.yaml && mapred lint w.yaml
    """
    paths = [path for file in files for path in _yaml_files(Path(file))]
    objects, problems = _own_problems(paths)
    program = shutil.which("argo")
    if program is not None:
        problems += _argos_problems(program, paths)
    for problem in problems:
        say(problem)
    also = (
        "argo lint saw them too"
        if program
        else "the program argo is not installed: references and unknown fields were not checked"
    )
    seen = f"{pluralize(objects, 'object')} in {pluralize(len(paths), 'file')}"
    say(f"{seen}: {pluralize(len(problems), 'problem')}; {also}", err=bool(problems))
    if problems:
        raise click.exceptions.Exit(FAILED)


def _own_problems(paths: Sequence[Path]) -> tuple[int, list[str]]:
    """How many objects the files hold, and what is wrong with them."""
    from mapred.backends.argo.lint import problems
    from mapred.backends.argo.yaml import from_yaml

    objects, messages = 0, []
    for path in paths:
        try:
            documents = from_yaml(path.read_text(encoding="utf-8"), str(path))
        except (BackendError, OSError, UnicodeDecodeError) as error:
            if isinstance(error, MissingDependency):
                raise
            messages.append(f"{path}: {error}")
            continue
        objects += len(documents)
        messages += [f"{path}: {text}" for document in documents for text in problems(document)]
        if not documents:
            messages.append(f"{path}: it holds no object")
    return objects, messages


def _argos_problems(program: str, paths: Sequence[Path]) -> list[str]:
    """Return what Argo's own linter says, a line a problem."""
    call = [program, "lint", "--offline", "-o", "simple", *map(str, paths)]
    try:
        done = subprocess.run(
            call,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_LINT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return [f"{program} lint did not end within {_LINT_SECONDS} s"]
    if done.returncode == 0:
        return []
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines or [f"argo lint ended with status {done.returncode} and said nothing"]


def _yaml_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix in (".yaml", ".yml"))


@click.group(short_help="What a cluster needs before the first run.")
def argo() -> None:
    """Print what an administrator gives a cluster before the first run.

    \b
    mapred argo rbac -n team | kubectl apply -f -
    """


@argo.command(short_help="Print the accounts and rights that runs need.")
@click.option("--namespace", "-n", metavar="NAME", help="Default: the backend's, else default.")
@backend_option
@traceback_option
def rbac(namespace: str | None, backend: str) -> None:
    """Print service accounts and roles with the least rights, as YAML for kubectl.

    The function's account has no rights and no token; the executor's may report results; the
    submitter's is for a client inside the cluster, and its role for the people who submit.

    \b
    mapred argo rbac -n team | kubectl apply -f -
    """
    from mapred.backends.argo.backend import Argo
    from mapred.backends.argo.rbac import manifests
    from mapred.backends.argo.yaml import to_yaml

    cluster = backends.resolve(backend)
    if not isinstance(cluster, Argo):
        raise click.UsageError(f"--backend {backend} is {cluster.name}, and runs no pods")
    if namespace is not None:
        cluster = dataclasses.replace(cluster, namespace=namespace)
    say(to_yaml(*manifests(cluster)), nl=False)


@argo.command(short_help="Print the claim of an OSS bucket or a NAS of Alibaba Cloud.")
@click.argument("name")
@click.argument("uri")
@click.option("--namespace", "-n", metavar="NAME", help="Namespace of the claim.")
@click.option("--endpoint", metavar="HOST", help="Endpoint of the bucket, as the nodes reach it.")
@click.option("--secret", metavar="NAME", help="The Secret with the keys akId and akSecret.")
@traceback_option
def claim(
    name: str, uri: str, namespace: str | None, endpoint: str | None, secret: str | None
) -> None:
    """Print a volume NAME and a claim of it for oss://bucket/path or nas://server/path.

    A function then sees it at /data by Resources(volumes=[mapred.Volume("/data", claim=NAME)]).

    \b
    mapred argo claim corpus oss://team/corpus --secret oss \\
      --endpoint oss-cn-hangzhou-internal.aliyuncs.com | kubectl apply -f -
    """
    from mapred.backends.argo import claims
    from mapred.backends.argo.yaml import to_yaml

    objects = claims.claim(name, uri, namespace=namespace, endpoint=endpoint, secret=secret)
    say(to_yaml(*objects), nl=False)
