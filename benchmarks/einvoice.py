"""How long it takes to read an invoice file: `python -m benchmarks.einvoice [FILE…]`, by default the sample files.

Prints the median of each file and of each form, the ratio to the time that reading and hashing the file takes, and how
many files a second the processes of `read_many` read. The goals are: XML and OFD 2 ms, PDF 25 ms, a photo 60 ms.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ekb_async.einvoice import read, read_many

_SAMPLES = Path(__file__).parents[1] / "tests" / "support" / "samples" / "einvoice"
_GOALS = {".xml": 2.0, ".ofd": 2.0, ".pdf": 25.0, ".jpg": 60.0, ".png": 60.0, ".heic": 60.0}
_ROUNDS, _FILES = 15, 600


def main(arguments: list[str]) -> int:
    """Measure these files, or the samples."""
    paths = [Path(each) for each in arguments] or sorted(each for each in _SAMPLES.iterdir() if each.suffix != ".json")
    console = Console()
    medians = {path: (_median(read, path), _median(_hashed, path)) for path in paths}
    table = Table("file", "median ms", "× hashing it", "invoices")
    for path, (reading, hashing) in medians.items():
        table.add_row(path.name, f"{reading:.2f}", f"{reading / hashing:.0f}", str(len(read(path))))
    console.print(table)
    forms = Table("form", "median ms", "goal ms", "of the goal")
    for suffix, goal in _GOALS.items():
        times = [reading for path, (reading, _) in medians.items() if path.suffix == suffix]
        if times:
            middle = statistics.median(times)
            forms.add_row(suffix, f"{middle:.2f}", f"{goal:g}", f"{middle / goal:.0%}")
    console.print(forms)
    alone = len(paths) / sum(reading for reading, _ in medians.values()) * 1000
    many = _per_second(paths)
    console.print(
        f"read: {alone:.0f} files/s · read_many: {many:.0f} files/s · ratio {many / alone:.2f}", highlight=False
    )
    return 0


def _median(work: Callable[[Path], object], path: Path) -> float:
    """Return the median time of some work on a file in milliseconds, after one round to load what it needs."""
    work(path)
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        work(path)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def _hashed(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _per_second(paths: list[Path]) -> float:
    """Return how many files a second the processes read, from the first result on."""
    results = read_many(_repeated(paths))
    next(results)
    began = time.perf_counter()
    count = sum(1 for _ in results)
    return count / (time.perf_counter() - began)


def _repeated(paths: list[Path]) -> Iterable[Path]:
    return (paths[number % len(paths)] for number in range(_FILES))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
