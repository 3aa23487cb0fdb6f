"""Unpack the job's packages, then start the worker: `python -c` of this text, in a pod."""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile

MISMATCH = 78


def main(archive: str, digest: str, python: str, folder: str, *worker: str) -> None:
    here = ".".join(map(str, sys.version_info[:2]))
    if here != python:
        refuse(f"the run was made for Python {python}, and this image has {here}")
    found = hashlib.sha256()
    with open(archive, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    if found.hexdigest() != digest:
        refuse(f"{archive} is not what the run was started with; its SHA-256 differs")
    with tarfile.open(archive) as packages:
        if hasattr(tarfile, "data_filter"):
            packages.extraction_filter = tarfile.data_filter
        packages.extractall(folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    os.execv(sys.executable, [sys.executable, "-m", "mapred.worker.supervisor", *worker])


def refuse(message: str) -> None:
    sys.stderr.write(message + "\n")
    sys.exit(MISMATCH)


if __name__ == "__main__":
    main(*sys.argv[1:])
