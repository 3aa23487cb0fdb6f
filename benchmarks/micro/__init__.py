"""What one part of mapred costs, each beside the simplest way to do the same."""
