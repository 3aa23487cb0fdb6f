"""What a monitoring system reads of a root."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

from cli.commands import call, run

from mapred.model import layout


def test_metrics_of_a_root(job_file: str, runs: Path) -> None:
    run(job_file, "--name", 'say "a\\b"')
    run(job_file)
    run(job_file, "--job", "failing", code=1)
    broken, older = runs / "29990101-000000-broken", runs / "20200101-000000-00000000"
    broken.mkdir()
    (broken / layout.JOB).write_text("{")
    _, failed, *_ = found = json.loads(call("ls", "--json").stdout)
    older.mkdir()
    job = (runs / failed["id"] / layout.JOB).read_text()
    (older / layout.JOB).write_text(job.replace(failed["created"], "2020-01-01T00:00:00Z"))
    when = datetime.strptime(failed["created"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
    said = call("metrics").stdout
    for line in (
        r'mapred_runs{job="say \"a\\b\"",state="succeeded"} 1',
        'mapred_runs{job="times",state="succeeded"} 1',
        'mapred_runs{job="fails",state="failed"} 1',
        'mapred_runs{job="fails",state="interrupted"} 1',
        'mapred_last_run_tasks{job="fails"} 3',
        f'mapred_last_run_tasks_done{{job="fails"}} {failed["done"]}',
        'mapred_last_run_tasks_done{job="times"} 7',
        "mapred_runs_unreadable 1",
        f'mapred_last_run_created_timestamp_seconds{{job="fails"}} {when:.0f}',
    ):
        assert line in said.splitlines(), said
    assert 'mapred_last_success_created_timestamp_seconds{job="times"}' in said
    assert 'mapred_last_success_created_timestamp_seconds{job="fails"}' not in said
    assert len(found) == 4, "the broken one is listed, and counted alone"
    assert "29990101" not in said
    text = re.compile(
        r'(# (HELP|TYPE) mapred_\w+ .+|mapred_\w+(\{(\w+="([^"\\]|\\.)*",?)+\})? \d+)'
    )
    assert all(text.fullmatch(line) for line in said.splitlines()), said
    assert 'job="times"' not in call("metrics", "-n", "2").stdout
