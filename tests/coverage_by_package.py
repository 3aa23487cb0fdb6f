"""`python coverage_by_package.py`: what `make coverage` has measured, a line for each package."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import coverage

import mapred

PACKAGE = Path(mapred.__file__).parent


def measured(data: coverage.Coverage) -> dict[str, tuple[int, int]]:
    """Statements, and those that ran, of each package; modules of their own count as `mapred`."""
    statements: Counter[str] = Counter()
    ran: Counter[str] = Counter()
    for file in sorted(PACKAGE.rglob("*.py")):
        _, lines, _, missing, _ = data.analysis2(str(file))
        package = ".".join(["mapred", *file.relative_to(PACKAGE).parts[:-1]])
        statements[package] += len(lines)
        ran[package] += len(lines) - len(missing)
    return {package: (statements[package], ran[package]) for package in statements}


def row(name: str, statements: int, ran: int) -> str:
    return f"{name:30} {statements:>10,} {ran:>8,} {ran / max(1, statements):>6.1%}"


def main() -> None:
    data = coverage.Coverage()
    data.load()
    counts = measured(data)
    print(f"{'package':30} {'statements':>10} {'ran':>8} {'share':>6}")
    for package, (statements, ran) in sorted(counts.items()):
        print(row(package, statements, ran))
    print(row("total", *(sum(column) for column in zip(*counts.values(), strict=True))))


if __name__ == "__main__":
    main()
