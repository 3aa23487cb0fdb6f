"""Rows to partitions by their keys: hashes, partial aggregates, partition-ordered files.

`hashing` says where a key belongs and `keys` what may be one; `aggregates` combines rows to
states, `dense` the fast way; `collecting` is the map side, `merging` the reduce side,
`ordering` what sorts,
`manifest` what lies between them, and `files` how it lies on disk.
"""
