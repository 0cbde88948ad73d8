"""decode: from the bytes of an answer to five typed values of each invoice, URL or line in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.bodies import NAMES, body, many_lines
from benchmarks.contest import Benchmark, Case, Contestant, Figure, Figures, Goal
from benchmarks.decoders import Reader, Values
from benchmarks.spending import spending

_STRETCHES = 5

Work = list[tuple[Callable[[bytes], Values], bytes]]


@dataclass(frozen=True)
class Load:
    """The bodies of one pass, all four or only details with `lines` lines, and the CPU `seconds` of a stretch."""

    lines: int
    seconds: float


def with_json() -> Reader:
    from benchmarks.decoders.plain import reader

    return reader(json.loads)


def with_orjson() -> Reader:
    import orjson

    from benchmarks.decoders.plain import reader

    return reader(orjson.loads)


def with_json_and_pydantic() -> Reader:
    from benchmarks.decoders.with_pydantic import from_loaded, reader

    return reader(from_loaded)


def with_pydantic() -> Reader:
    from benchmarks.decoders.with_pydantic import from_json, reader

    return reader(from_json)


def with_msgspec() -> Reader:
    from benchmarks.decoders.with_msgspec import READER

    return READER


def with_ours() -> Reader:
    from benchmarks.decoders.ours import READER

    return READER


READERS = {
    "ekb_async": with_ours,
    "msgspec": with_msgspec,
    "orjson": with_orjson,
    "json": with_json,
    "pydantic": with_pydantic,
    "json + pydantic": with_json_and_pydantic,
}


def _contestant(name: str, make: Callable[[], Reader]) -> Contestant[Load]:
    return Contestant(name, lambda load, _: _measure(make(), load))


def _measure(reader: Reader, load: Load) -> Figures:
    work: Work = [(reader.details, many_lines(load.lines))]
    if not load.lines:
        work = [(getattr(reader, name), body(name)) for name in NAMES]
    size = sum(len(content) for _, content in work)
    passes = 1
    while _cpu(work, passes) < load.seconds:
        passes *= 2
    # Other work of the machine can only add to a stretch, so the smallest of several is the most accurate.
    cpu = min(_cpu(work, passes) for _ in range(_STRETCHES)) / passes
    return {"cpu": cpu * 1e6, "speed": size / cpu / 1e6}


def _cpu(work: Work, passes: int) -> float:
    with spending() as spent:
        for _ in range(passes):
            for read, content in work:
                read(content)
    return spent.cpu


BENCHMARK = Benchmark(
    name="decode",
    title="reading answers, five typed values of each entry",
    figures=(Figure("cpu", "CPU, µs per pass"), Figure("speed", "MB/s", 0)),
    cases=(
        Case("the documented bodies", Load(lines=0, seconds=0.1), Load(lines=0, seconds=0.002)),
        Case("details of 500 lines", Load(lines=500, seconds=0.1), Load(lines=20, seconds=0.002)),
    ),
    contestants=tuple(_contestant(name, make) for name, make in READERS.items()),
    goals=(
        Goal(
            says="documented bodies: at most 1.6 times the CPU of bare msgspec",
            value=lambda results: 1 / results.ratio("the documented bodies", "cpu", of="msgspec"),
            at_most=1.6,
        ),
        Goal(
            says="500 lines: at most 1.5 times the CPU of bare msgspec",
            value=lambda results: 1 / results.ratio("details of 500 lines", "cpu", of="msgspec"),
            at_most=1.5,
        ),
        Goal(
            says="documented bodies: json + pydantic takes at least 3 times the CPU",
            value=lambda results: results.ratio("the documented bodies", "cpu", of="json + pydantic"),
            at_least=3,
        ),
        Goal(
            says="500 lines: json + pydantic takes at least 5 times the CPU",
            value=lambda results: results.ratio("details of 500 lines", "cpu", of="json + pydantic"),
            at_least=5,
        ),
    ),
    drawn=("cpu",),
)
