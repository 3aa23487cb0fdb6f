"""The command line: words to arguments of the api, and what it gives back to text or JSON.

Exit codes: 0 done; 1 the run failed, or the audit found problems; 2 wrong usage or input;
130 interrupted. Answers go to standard output, progress and errors to standard error.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

import click

import mapred
from mapred._version import __version__
from mapred.cli import (
    argo,
    clusters,
    completing,
    deployments,
    keeping,
    metrics,
    pipelines,
    retention,
    runs,
)
from mapred.cli.datasets import Words, job_options, make_dataset, reading_options
from mapred.cli.options import (
    Place,
    Report,
    change_options,
    json_option,
    place_options,
    plan_options,
    report_options,
    resource_options,
    root_option,
    traceback_option,
)
from mapred.cli.reports import (
    FAILED,
    INTERRUPTED,
    WRONG,
    conclude,
    follow,
    print_json,
    say,
)
from mapred.errors import MapredError, RunError
from mapred.errors.escaping import visible


class Commands(click.Group):
    """The group of commands: lists them in the order of their use, and maps errors to codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _visible_usage():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        # A record may hold half of a character, which no encoding writes.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with _visible_usage():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            say("\nInterrupted; `mapred ls` shows the runs that can be resumed.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except MapredError as error:
            if ctx.meta.get("mapred.traceback"):
                import traceback

                say("".join(traceback.format_exception(error)), err=True, nl=False)
            else:
                say(f"Error: {error}", "error", err=True)
            raise click.exceptions.Exit(FAILED if isinstance(error, RunError) else WRONG) from error


@contextmanager
def _visible_usage() -> Iterator[None]:
    """Make the words that click repeats in its errors safe to show."""
    try:
        yield
    except click.ClickException as error:
        error.message = visible(error.message)  # type: ignore[misc]
        raise


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
)
@click.version_option(__version__, prog_name="mapred", message="%(prog)s %(version)s")
def main() -> None:
    """Map a Python function over a dataset, and reduce: every record once.

    \b
    mapred run recipes/word_count.py                a file that defines a job
    mapred run counting:count_words 'logs/*.txt' --reduce merge_counts
    mapred plan 'logs/*.txt'                        what would run
    mapred ls                                       the runs so far
    mapred show last                                how the last one went

    RUN is the id of a run, the start of one, `last`, or the path of its folder. To have Tab
    complete runs, commands and options, see `mapred completion --help`.

    \b
    Exit codes: 0 done; 1 the run failed, or the audit found problems;
    2 wrong usage or input; 130 interrupted (`mapred resume` continues).
    """


@click.command(short_help="Run a job, or a function over a dataset.")
@job_options
@resource_options
@place_options
@report_options
@traceback_option
def run(
    words: Words,
    resources: Mapping[str, Any],
    place: Place,
    report: Report,
) -> None:
    """Run TARGET and print the beginning of its result.

    TARGET is a Python file that defines a job, job = mapred.job(function, dataset), at its
    top level; or a function, package.module:function or file.py:function, and then DATASET
    says what to read: files, globs (in quotes), URIs. Modules are found from the working
    folder. Options given here replace those of the file's job. A value of --param is a number,
    true or false where it looks like one; date=2026-03-01 is a date, today unless it is given.

    \b
    mapred run recipes/word_count.py
    mapred run recipes/word_count.py 'other/**/*.txt' --max-tasks 8
    mapred run counting:count_words 'logs/*.txt.gz' --reduce merge_counts
    mapred run nightly.py --param date=2026-03-01 --param city=Bern
    mapred run stats.py:by_city 'trips/*.parquet' --as pandas --reduce concat
    mapred run tasks:simulate 1000 --format array --timeout 10m --max-failed 0.01
    mapred run recipes/word_count.py --json | jq .result
    """
    from mapred.cli import jobs, references

    with report.prints_aside():
        job = references.replace_options(jobs.job_of(words), {}, resources)
        started = job.submit(backend=place.resolve_backend() or "local", root=place.root)
        follow(started, report)
    conclude(started, report)


@click.command(short_help="Show what would run, without running it.")
@click.argument(
    "datasets", metavar="DATASET...", nargs=-1, required=True, shell_complete=completing.files
)
@click.option("--job", "job_name", metavar="NAME", help="Which job of the file to plan.")
@reading_options
@plan_options
@json_option
@traceback_option
def plan(
    datasets: Sequence[str],
    job_name: str | None,
    reading: Mapping[str, Any],
    settings: Mapping[str, Any],
    json: bool,
) -> None:
    """Show files, bytes, shards and their sizes for DATASET, or for the job of a file.

    A single existing .py file is one that defines a job, unless --format says otherwise.

    \b
    mapred plan 'corpus/**/*.txt' --target-bytes 16Mi
    mapred plan recipes/word_count.py
    mapred plan 'trips/*.parquet' --json | jq .shards
    """
    from mapred.cli import output, references

    with redirect_stdout(sys.stderr) if json else nullcontext():
        if len(datasets) == 1 and "format" not in reading and references.is_job_file(datasets[0]):
            job = references.load_job(datasets[0], job_name)
            planned = references.replace_options(job, settings).plan()
        else:
            planned = mapred.plan(make_dataset(datasets, reading), **settings)
    if json:
        print_json(output.plan_json(planned.summary()))
    else:
        say(str(planned), "plan")


@click.command(short_help="Continue a run that stopped or failed.")
@click.argument("run_name", metavar="RUN", shell_complete=completing.run_ids)
@change_options
@resource_options
@place_options
@report_options
@traceback_option
def resume(
    run_name: str,
    changes: Mapping[str, Any],
    resources: Mapping[str, Any],
    place: Place,
    report: Report,
) -> None:
    """Resume a run that failed, was interrupted, suspended, cancelled or killed.

    Committed map tasks are kept. Without --fn, the stored function is used; with --reduce, the
    whole reduce runs again. Limits replace those of the run. A run that another process drives
    is followed; one that succeeded is left alone.

    A pipeline's function is called again: runs that succeeded are kept. It takes --fn, the
    function as it was edited since, and --backend.

    \b
    mapred resume last
    mapred resume last --fn counting.py:count_words
    mapred resume last --timeout 10m --memory 4Gi --max-failed 0.01
    """
    from mapred.cli import resuming, run_list

    run = run_list.open_any(run_name, place.root, place.resolve_backend())
    if isinstance(run, mapred.PipelineRun):
        pipelines.resume_pipeline(run, changes, resources, place, report)
        return
    with redirect_stdout(sys.stderr):
        if run.status().live:
            options = [*changes, *resources]
            if options:
                names = ", ".join(f"--{name.replace('_', '-')}" for name in options)
                raise click.UsageError(f"run {run.id} is running: stop it before you give {names}")
            run.wait(report.shows)
        else:
            resuming.resume(run, changes, resources, place.resolve_backend(), report.shows)
    conclude(run, report)


@click.command(short_help="Check that a run is whole.")
@click.argument("run_name", metavar="RUN", shell_complete=completing.run_ids)
@click.option(
    "--no-content", is_flag=True, help="Compare only the sizes of files, not their contents."
)
@click.option("--contact", is_flag=True, help="Contact the servers that the run's record names.")
@root_option
@json_option
@traceback_option
def audit(run_name: str, no_content: bool, contact: bool, root: str | None, json: bool) -> None:
    """Check every byte, item, record and output of a run, and what it published, against its plan.

    Gaps, duplicates, readers that stopped early, changed files and records, and a run that did
    not succeed are listed as problems, and the exit code is then 1. What was given up within
    --max-failed is listed too, with how much of it nobody read, but is not a problem: `complete`
    of --json is true where nothing was given up or skipped. Of a pipeline, its own files and all
    of its runs are checked.

    \b
    mapred audit last && echo whole
    mapred audit last --no-content
    """
    from mapred.cli import run_list

    run = run_list.open_any(run_name, root)
    if isinstance(run, mapred.PipelineRun):
        pipelines.audit_pipeline(run, content=not no_content, contact=contact, json=json)
        return
    report = run.audit(content=not no_content, contact=contact)
    if json:
        from mapred.cli import output

        print_json(output.audit_json(report))
    else:
        say(str(report), "audit")
    if not report.ok:
        raise click.exceptions.Exit(FAILED)


for _command in (
    run,
    plan,
    runs.ls,
    runs.show,
    runs.logs,
    resume,
    pipelines.approve,
    audit,
    keeping.report,
    keeping.advise,
    clusters.submit,
    clusters.cancel,
    clusters.schedule,
    clusters.schedules,
    clusters.unschedule,
    deployments.deploy,
    deployments.deployments,
    deployments.start,
    deployments.undeploy,
    argo.render,
    argo.lint,
    argo.argo,
    clusters.doctor,
    metrics.metrics,
    retention.gc,
    retention.rm,
    completing.completion,
):
    main.add_command(_command)
