"""The command that tells a monitoring system of the runs of a root."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from mapred.cli.options import root_option, traceback_option
from mapred.cli.reports import say
from mapred.errors.escaping import visible

if TYPE_CHECKING:
    from mapred.client.history import Entry

_Sample = tuple[Mapping[str, str], float]


@click.command(short_help="Print the runs of a root as metrics.")
@root_option
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1),
    default=1000,
    metavar="N",
    help="Only the newest N runs (default: 1000).",
)
@traceback_option
def metrics(root: str | None, limit: int) -> None:
    """Print states and progress of the runs of a root, by the names of their jobs.

    The text is what Prometheus reads, from a file that its node exporter collects, say.

    \b
    mapred metrics --root s3://team/runs > mapred.prom.new && mv mapred.prom.new mapred.prom
    """
    from mapred.client import history

    say(metrics_text(history.runs(root, limit).entries), nl=False)


def metrics_text(newest_first: Sequence[Entry]) -> str:
    """Return the runs in Prometheus' text format: how many in each state, and the last of each job."""
    known = [entry for entry in newest_first if entry.created]
    others = len(newest_first) - len(known)
    states = Counter((entry.name, entry.state) for entry in known)
    last = _newest_by_job(known)
    succeeded = _newest_by_job(entry for entry in known if entry.state == "succeeded")
    parts = [
        _format_gauge(
            "mapred_runs",
            "Runs of a job by state.",
            [({"job": name, "state": state}, n) for (name, state), n in sorted(states.items())],
        ),
        _format_gauge("mapred_runs_unreadable", "Runs that cannot be read.", [({}, others)]),
        *(_format_job_gauge(name, about, last, value) for name, about, value in _LAST_RUN),
        _format_job_gauge(
            "mapred_last_success_created_timestamp_seconds",
            "When the last run of a job that succeeded was made.",
            succeeded,
            _seconds,
        ),
    ]
    return "".join(line for part in parts for line in part)


def _format_job_gauge(
    name: str, about: str, runs: Mapping[str, Entry], value: Callable[[Entry], float]
) -> Iterator[str]:
    return _format_gauge(name, about, [({"job": job}, value(entry)) for job, entry in runs.items()])


def _newest_by_job(newest_first: Iterable[Entry]) -> dict[str, Entry]:
    """Return the newest run of each job, by the job's name."""
    found: dict[str, Entry] = {}
    for entry in newest_first:
        found.setdefault(entry.name, entry)
    return dict(sorted(found.items()))


def _seconds(entry: Entry) -> float:
    # In UTC, as its last letter says.
    when = datetime.strptime(entry.created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return when.timestamp()


_LAST_RUN: tuple[tuple[str, str, Callable[[Entry], float]], ...] = (
    ("mapred_last_run_tasks", "Tasks of the last run of a job.", lambda run: run.tasks),
    (
        "mapred_last_run_tasks_done",
        "Tasks of the last run of a job that are committed.",
        lambda run: run.done,
    ),
    (
        "mapred_last_run_given_up",
        "Items or shards that the last run of a job gave up.",
        lambda run: run.given_up,
    ),
    (
        "mapred_last_run_created_timestamp_seconds",
        "When the last run of a job was made.",
        _seconds,
    ),
)


def _format_gauge(name: str, about: str, samples: Sequence[_Sample]) -> Iterator[str]:
    yield f"# HELP {name} {about}\n# TYPE {name} gauge\n"
    for labels, value in samples:
        inner = ",".join(f'{label}="{_escape_label(text)}"' for label, text in labels.items())
        yield f"{name}{{{inner}}} {value:.0f}\n" if labels else f"{name} {value:.0f}\n"


def _escape_label(text: str) -> str:
    return visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
