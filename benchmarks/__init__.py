"""What mapred costs beside its peers: `python -m benchmarks` writes RESULTS.md."""
