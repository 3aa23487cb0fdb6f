"""A run's folder: its records, its outputs, and what they say of the run."""
