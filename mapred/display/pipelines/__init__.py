"""Pipelines as text, HTML and pictures: their steps, with what waits and what failed."""
