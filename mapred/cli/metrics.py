"""The command that tells a monitoring system of the runs of a root."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from operator import attrgetter
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

    Pipelines and their runs both count; of a pipeline the tasks are its steps. The text is what Prometheus reads, from a file that its node exporter collects, say.

    \b
    mapred metrics --root s3://team/runs > mapred.prom.new && mv mapred.prom.new mapred.prom
    """
    from mapred.client import history

    say(metrics_text(history.runs(root, limit, folded=False).entries), nl=False)


def metrics_text(newest_first: Sequence[Entry]) -> str:
    """Return the runs in Prometheus' text format: how many in each state, and the last of each job."""
    readable = [entry for entry in newest_first if entry.created]
    states = Counter((entry.name, entry.state) for entry in readable)
    last = _newest_by_job(readable)
    succeeded = _newest_by_job(entry for entry in readable if entry.state == "succeeded")
    gauges: list[tuple[str, str, Iterable[_Sample]]] = [
        (
            "runs",
            "Runs of a job by state.",
            [({"job": name, "state": state}, n) for (name, state), n in sorted(states.items())],
        ),
        (
            "runs_unreadable",
            "Runs that cannot be read.",
            [({}, len(newest_first) - len(readable))],
        ),
        ("last_run_tasks", "Tasks of the last run of a job.", _samples(last, attrgetter("tasks"))),
        (
            "last_run_tasks_done",
            "Tasks of the last run of a job that are committed.",
            _samples(last, attrgetter("done")),
        ),
        (
            "last_run_given_up",
            "Items or shards that the last run of a job gave up.",
            _samples(last, attrgetter("given_up")),
        ),
        (
            "last_run_created_timestamp_seconds",
            "When the last run of a job was made.",
            _samples(last, _created),
        ),
        (
            "last_success_created_timestamp_seconds",
            "When the last run of a job that succeeded was made.",
            _samples(succeeded, _created),
        ),
    ]
    return "".join(_format_gauge(f"mapred_{name}", about, s) for name, about, s in gauges)


def _newest_by_job(newest_first: Iterable[Entry]) -> list[Entry]:
    newest: dict[str, Entry] = {}
    for entry in newest_first:
        newest.setdefault(entry.name, entry)
    return [newest[name] for name in sorted(newest)]


def _samples(runs: Iterable[Entry], value: Callable[[Entry], float]) -> list[_Sample]:
    return [({"job": run.name}, value(run)) for run in runs]


def _created(run: Entry) -> float:
    # In UTC, as its last letter says.
    when = datetime.strptime(run.created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return when.timestamp()


def _format_gauge(name: str, about: str, samples: Iterable[_Sample]) -> str:
    lines = [f"# HELP {name} {about}\n# TYPE {name} gauge\n"]
    for labels, value in samples:
        inner = ",".join(f'{label}="{_escape_label(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{inner}}} {value:.0f}\n" if labels else f"{name} {value:.0f}\n")
    return "".join(lines)


def _escape_label(text: str) -> str:
    return visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
