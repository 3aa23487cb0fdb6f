"""Write small data for the other recipes: logs/, trips/, reads/ and lake/raw/.

python recipes/sample_data.py
"""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def web_logs(days: int = 5, lines: int = 20_000) -> None:
    """One file a day, as Apache and nginx write them; the very last line is cut short."""
    for day in range(1, days + 1):
        rng = np.random.default_rng(day)
        paths = rng.choice(
            ["/", "/search?q=x", "/items/7", "/login", "/favicon.ico"], lines
        )
        codes = rng.choice([200, 200, 200, 304, 404, 500], lines)
        with open(f"logs/2026-03-0{day}.log", "w") as file:
            for path, code, size in zip(
                paths, codes, rng.integers(0, 9999, lines), strict=True
            ):
                stamp = f"[0{day}/Mar/2026:10:00:00 +0000]"
                request = f'"GET {path} HTTP/1.1" {code} {size} "-" "curl"'
                file.write(f"10.0.0.9 - - {stamp} {request}\n")
            if day == days:
                file.write("10.0.0.9 - - [05/Mar\n")


def taxi_trips(files: int = 4, rows: int = 50_000) -> None:
    for number in range(files):
        rng = np.random.default_rng(number)
        trips = {
            "city": rng.choice(["Lima", "Oslo", "Pune"], rows),
            "fare": rng.gamma(2.0, 8.0, rows),
            "driver": rng.integers(0, 99, rows),
        }
        pq.write_table(
            pa.table(trips), f"trips/{number}.parquet", row_group_size=10_000
        )


def sequencer_reads(files: int = 6, reads: int = 2_000) -> None:
    """Reads of 100 bases from one genome of 20,000; the last one of each is unknown."""
    genome = (
        np.random.default_rng(0)
        .choice(list(b"ACGT"), 20_000)
        .astype(np.uint8)
        .tobytes()
    )
    for number in range(files):
        starts = np.random.default_rng(number + 1).integers(0, 19_900, reads)
        records = (
            b"@lane%d:%d\n%sN\n+\n@%s\n"
            % (number, read, genome[start : start + 99], b"F" * 99)
            for read, start in enumerate(starts)
        )
        content = gzip.compress(b"".join(records), mtime=0)
        Path(f"reads/lane{number}.fastq.gz").write_bytes(content)


def raw_orders(files: int = 4, rows: int = 20_000) -> None:
    """Orders of three days; some have no country, some a price below zero."""
    for number in range(files):
        rng = np.random.default_rng(number)
        orders = {
            "id": np.arange(rows) + number * rows,
            "at": np.datetime64("2026-03-01T00:00:00", "s")
            + rng.integers(0, 3 * 86_400, rows),
            "country": rng.choice(["de", "DE", "fr", "pt", ""], rows),
            "cents": rng.integers(-50, 10_000, rows),
        }
        pq.write_table(
            pa.table(orders), f"lake/raw/{number}.parquet", row_group_size=5_000
        )


if __name__ == "__main__":
    for folder in ("logs", "trips", "reads", "lake/raw"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    web_logs()
    taxi_trips()
    sequencer_reads()
    raw_orders()
    print("wrote logs/, trips/, reads/ and lake/raw/")
