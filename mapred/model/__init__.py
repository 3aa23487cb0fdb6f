"""Frozen values that everything else passes around; no input and no output."""
