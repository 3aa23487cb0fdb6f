"""Types of Arrow: what is the same under another encoding, and null in the name of a folder."""

from __future__ import annotations

from mapred.process.lazy import pa

# What readers of `name=value` folders take for null.
NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"


def strip_encoding(type_: pa.DataType, *, large: bool = False) -> pa.DataType:
    """Return the type of the same values without dictionaries, runs and views; not inside other
    types."""
    if pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
        return strip_encoding(type_.value_type, large=large)
    if type_ == pa.string_view():
        return pa.large_string() if large else pa.string()
    if type_ == pa.binary_view():
        return pa.large_binary() if large else pa.binary()
    return type_
