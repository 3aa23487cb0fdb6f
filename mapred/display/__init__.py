"""Plans and runs as text, HTML and pictures: pure functions of their input."""

from __future__ import annotations

from mapred.display.failures import Failures
from mapred.display.html import failures_html, plan_html, status_html
from mapred.display.live import Progress, progress
from mapred.display.numbers import format_bytes, format_count, format_seconds
from mapred.display.summary import Column, FailureGroup, PlanSummary, group_failures
from mapred.display.tables import table_html, table_text
from mapred.display.text import (
    failures_text,
    plan_text,
    run_text,
    sparkline,
    status_text,
    timeline_text,
)

__all__ = [
    "Column",
    "FailureGroup",
    "Failures",
    "PlanSummary",
    "Progress",
    "failures_html",
    "failures_text",
    "format_bytes",
    "format_count",
    "format_seconds",
    "group_failures",
    "plan_html",
    "plan_text",
    "progress",
    "run_text",
    "sparkline",
    "status_html",
    "status_text",
    "table_html",
    "table_text",
    "timeline_text",
]
