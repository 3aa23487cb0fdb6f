"""Count the k-mers in gzipped FASTQ files: how often each word of 11 bases occurs in the reads.

A FASTQ record is four lines, and its quality line may begin with the `@` that begins a record:
no reader can tell from the middle of a file where a record starts. So a task takes whole files,
as sequencers deliver them; split one that is huge by records first (`seqkit split2`).

    mapred run recipes/kmer_count.py
    python recipes/kmer_count.py --backend dask     # or a name from mapred.toml
"""

from __future__ import annotations

import argparse
import gzip
import os
import tempfile

import fsspec
import numpy as np
import pyarrow as pa

import mapred

# Pods read from a bucket: RECIPES=s3://bucket/recipes mapred run … --backend argo
DATA = f"{os.environ.get('RECIPES', tempfile.gettempdir() + '/mapred-recipes')}/reads"
K, BASES = 11, b"ACGT"
CODES = np.full(256, -1, np.int64)
CODES[list(BASES)] = range(4)


def make_sample(files: int = 6, reads: int = 2_000) -> None:
    genome = np.random.default_rng(0).choice(list(BASES), 20_000).astype(np.uint8).tobytes()
    for number in range(files):
        rng = np.random.default_rng(number + 1)
        with fsspec.open(f"{DATA}/lane{number}.fastq.gz", "wb") as file:
            records = bytearray()
            for read, start in enumerate(rng.integers(0, 19_900, reads)):
                bases = genome[start : start + 99] + b"N"
                records += b"@lane%d:%d\n%s\n+\n@%s\n" % (number, read, bases, b"F" * 99)
            file.write(gzip.compress(bytes(records), mtime=0))


def kmers(file: mapred.File) -> pa.Table:
    lines = gzip.decompress(file.read()).splitlines()
    if len(lines) % 4 or any(not line.startswith(b"@") for line in lines[::4]):
        raise ValueError(f"{file.path} is no FASTQ, or is cut short")
    codes = CODES[np.frombuffer(b"\n".join(lines[1::4]), np.uint8)]
    windows = np.lib.stride_tricks.sliding_window_view(codes, K)
    windows = windows[(windows >= 0).all(axis=1)]  # none with an N, none over the end of a read
    words, counts = np.unique(windows @ 4 ** np.arange(K)[::-1], return_counts=True)
    return pa.table({"kmer": words, "count": counts})


if not fsspec.url_to_fs(DATA)[0].exists(f"{DATA}/lane5.fastq.gz"):
    make_sample()
reads = mapred.read_files(f"{DATA}/*.fastq.gz")
job = mapred.job(kmers, reads, by="kmer", aggregate={"count": "sum"}, partitions=4)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="local")
    table = job.run(backend=parser.parse_args().backend).to_arrow()
    print(f"{len(table):,} different {K}-mers")
    for row in table.sort_by([("count_sum", "descending"), ("kmer", "ascending")])[:5].to_pylist():
        word = "".join("ACGT"[int(row["kmer"]) >> 2 * i & 3] for i in range(K))[::-1]
        print(f"{word} {row['count_sum']:,}")
