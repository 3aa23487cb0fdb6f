"""Arrow's tables and numpy's arrays, and what others call a table."""
