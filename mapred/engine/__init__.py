"""Who decides: drivers, and the processes that they start."""
