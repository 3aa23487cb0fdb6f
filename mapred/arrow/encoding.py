"""Schemas and small tables as text, for commits."""

from __future__ import annotations

import base64

from mapred.process.lazy import pa


def encode_table(table: pa.Table) -> str:
    """Return a small table as text for a commit."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return base64.b64encode(sink.getvalue()).decode()


def decode_table(text: str) -> pa.Table:
    """Return the table that `encode_table` wrote."""
    return pa.ipc.open_stream(base64.b64decode(text)).read_all()


def encode_schema(schema: pa.Schema) -> str:
    """Return a schema as text for a commit."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def decode_schema(text: str) -> pa.Schema:
    """Return the schema that `encode_schema` wrote."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
