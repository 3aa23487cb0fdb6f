"""Scripts that run in a pod by themselves."""
