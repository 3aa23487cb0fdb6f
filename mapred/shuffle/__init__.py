"""Rows to partitions by their keys: hashes, partial aggregates, partition-ordered files.

`hashing` says where a key belongs, `keys` what may be one.
"""
