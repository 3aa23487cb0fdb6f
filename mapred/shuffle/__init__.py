"""Rows to partitions by their keys: hashes, partial aggregates, partition-ordered files.

`hashing` says where a key belongs, `keys` what may be one, and `schemas` which types go
together. `aggregations` checks what is requested and `kinds` its types; `aggregates` combines
rows to states, by `groups`, `dense` the fast way, with `sums` that never wrap and `lists` of
values; `answers` and `quantiles` make the answer of them. `collecting` is the map side, `merging`
the reduce side, `ordering` what sorts, `manifest` what lies between them, and `files` how it
lies on disk.
"""
