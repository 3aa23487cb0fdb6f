"""Count k-mers in gzipped FASTQ files: how often each word of 11 bases occurs.

A quality line may begin with the `@` that begins a record, so nothing can tell from the
middle of a file where a record starts: `read_files` gives each task whole files.

    python recipes/sample_data.py         # writes reads/
    mapred run recipes/kmer_count.py
"""

import gzip

import numpy as np
import pyarrow as pa

import mapred

K = 11
CODES = np.full(256, -1)
CODES[list(b"ACGT")] = range(4)


def kmers(file: mapred.File) -> pa.Table:
    lines = gzip.decompress(file.read()).splitlines()
    if len(lines) % 4 or any(not line.startswith(b"@") for line in lines[::4]):
        raise ValueError(f"{file.path} is not FASTQ, or is cut short")
    codes = CODES[np.frombuffer(b"\n".join(lines[1::4]), np.uint8)]
    windows = np.lib.stride_tricks.sliding_window_view(codes, K)
    windows = windows[
        (windows >= 0).all(axis=1)
    ]  # none with an N, none across two reads
    words, counts = np.unique(windows @ 4 ** np.arange(K)[::-1], return_counts=True)
    return pa.table({"kmer": words, "count": counts})


def letters(code: int) -> str:
    return "".join("ACGT"[code >> 2 * place & 3] for place in reversed(range(K)))


reads = mapred.read_files("reads/*.fastq.gz")
job = mapred.job(kmers, reads, by="kmer", aggregate={"count": "sum"}, partitions=4)

if __name__ == "__main__":
    table = job.run().to_arrow()
    print(f"{len(table):,} different {K}-mers")
    table = table.sort_by([("count_sum", "descending"), ("kmer", "ascending")])
    for row in table[:5].to_pylist():
        print(f"{letters(row['kmer'])} {row['count_sum']:,}")
