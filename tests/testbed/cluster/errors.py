"""What can go wrong with the cluster itself."""

from __future__ import annotations


class ClusterError(Exception):
    """The cluster cannot be built, started or ended; the message says why and what to do."""


class CannotHaveCluster(ClusterError):
    """This machine lacks what a cluster needs: another system, no root, no Go, no packages."""
