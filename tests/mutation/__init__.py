"""Faults put into mapred one at a time, to see whether its tests notice: `make mutants`."""
