"""`python -m mapred`: the command line."""

from __future__ import annotations

from mapred.cli import main

if __name__ == "__main__":
    main(prog_name="mapred")
