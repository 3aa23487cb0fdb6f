"""Pipelines: functions that start runs, and continue where they were when they are started again."""
