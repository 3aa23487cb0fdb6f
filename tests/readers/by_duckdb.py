"""Reads Delta tables with DuckDB's extension, in a Python that has the package of it.

A line of standard input is a table in JSON: `path`, and `where`, a condition or null. A line
of the answer holds its rows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb
import duckdb_extension_delta


def main() -> None:
    (extension,) = Path(duckdb_extension_delta.__file__).parent.rglob("*.duckdb_extension")
    with duckdb.connect() as connection:
        # DuckDB checks the signature: it loads what its own makers built, whoever packed it.
        connection.execute(f"load '{extension}'")
        for line in sys.stdin:
            table = json.loads(line)
            query = f"from delta_scan('{table['path']}')"
            found = connection.execute(
                query + (f" where {table['where']}" if table["where"] else "")
            )
            names = [column[0] for column in found.description]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
            print(json.dumps(rows, default=str))


main()
