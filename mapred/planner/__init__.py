"""From a listing to shards: pure, vectorised, no file is opened."""

from __future__ import annotations

from mapred.planner.plan_file import (
    PlanFile,
    plan_files,
    read_plan,
    write_plan,
)
from mapred.planner.ranges import Plan, Skew, plan_schema
from mapred.planner.shards import plan, plan_items, plan_outputs

__all__ = [
    "Plan",
    "PlanFile",
    "Skew",
    "plan",
    "plan_files",
    "plan_items",
    "plan_outputs",
    "plan_schema",
    "read_plan",
    "write_plan",
]
