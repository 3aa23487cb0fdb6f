"""A run as an Argo Workflow: `Argo` says where, `render` compiles, `lint` checks."""

from __future__ import annotations
