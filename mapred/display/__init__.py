"""Plans and runs as text, HTML and pictures: pure functions of their input.

Each module is loaded when one of its names is used first: most runs show nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mapred.process import lazy

if TYPE_CHECKING:
    from mapred.display.advice import Advice as Advice
    from mapred.display.failures import Failures as Failures
    from mapred.display.format import format_bytes as format_bytes
    from mapred.display.format import format_count as format_count
    from mapred.display.format import format_seconds as format_seconds
    from mapred.display.html import failures_html as failures_html
    from mapred.display.html import plan_html as plan_html
    from mapred.display.html import status_html as status_html
    from mapred.display.pipelines.html import pipeline_html as pipeline_html
    from mapred.display.pipelines.rows import choice_word as choice_word
    from mapred.display.pipelines.rows import open_gates as open_gates
    from mapred.display.pipelines.text import open_gates_text as open_gates_text
    from mapred.display.pipelines.text import pipeline_line as pipeline_line
    from mapred.display.pipelines.text import pipeline_text as pipeline_text
    from mapred.display.showing import Follows as Follows
    from mapred.display.showing import Progress as Progress
    from mapred.display.showing import in_notebook as in_notebook
    from mapred.display.showing import pipeline_progress as pipeline_progress
    from mapred.display.showing import progress as progress
    from mapred.display.summary import Column as Column
    from mapred.display.summary import FailureGroup as FailureGroup
    from mapred.display.summary import PlanSummary as PlanSummary
    from mapred.display.summary import group_failures as group_failures
    from mapred.display.sweeps import SweepPlot as SweepPlot
    from mapred.display.sweeps import SweepPoints as SweepPoints
    from mapred.display.sweeps import sweep_html as sweep_html
    from mapred.display.tables import table_html as table_html
    from mapred.display.tables import table_text as table_text
    from mapred.display.text.bars import sparkline as sparkline
    from mapred.display.text.failures import failures_text as failures_text
    from mapred.display.text.plan import plan_text as plan_text
    from mapred.display.text.run import run_text as run_text
    from mapred.display.text.run import status_text as status_text
    from mapred.display.text.run import timeline_text as timeline_text

_WHERE = {
    "advice": ("Advice",),
    "failures": ("Failures",),
    "html": ("failures_html", "plan_html", "status_html"),
    "format": ("format_bytes", "format_count", "format_seconds"),
    "pipelines.html": ("pipeline_html",),
    "pipelines.rows": ("choice_word", "open_gates"),
    "pipelines.text": ("open_gates_text", "pipeline_line", "pipeline_text"),
    "showing": ("Follows", "Progress", "in_notebook", "pipeline_progress", "progress"),
    "summary": ("Column", "FailureGroup", "PlanSummary", "group_failures"),
    "sweeps": ("SweepPlot", "SweepPoints", "sweep_html"),
    "tables": ("table_html", "table_text"),
    "text.bars": ("sparkline",),
    "text.failures": ("failures_text",),
    "text.plan": ("plan_text",),
    "text.run": ("run_text", "status_text", "timeline_text"),
}

__getattr__ = lazy.names_of(__name__, _WHERE)
