"""The benchmarks run, and every contestant does the work it is measured by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.__main__ import main, options_of
from benchmarks.bodies import NAMES, body, many_lines
from benchmarks.contest import OURS
from benchmarks.decode import READERS
from benchmarks.registry import BENCHMARKS
from benchmarks.rounds import run_pair
from benchmarks.trouble.load import ENGINES, TROUBLES
from tests.support.postgres import Postgres

CONTESTS = [name for name, benchmark in BENCHMARKS.items() if not benchmark.only_if_named]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("name", CONTESTS)
def test_every_benchmark_gives_figures_for_ours_and_each_peer(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A quick run writes the figures of every contestant and the plot."""
    if name == "hosts":
        server: Postgres = request.getfixturevalue("postgres_server")
        monkeypatch.setenv("EKB_BENCHMARK_DSN", server.dsn)
    assert main([name, "--quick", "--json", str(tmp_path / "report.json"), "--plot", str(tmp_path)]) == 0
    report: dict[str, Any] = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert report["machine"]["processor"]
    [result] = report["benchmarks"]
    assert result["name"] == name
    benchmark = BENCHMARKS[name]
    assert len(benchmark.contestants) >= 2
    given = set()
    for case in benchmark.cases:
        measured = {name: figures for name, figures in result["cases"][case.name].items() if figures}
        assert set(measured) == {each.name for of, each in benchmark.quick_pairs() if of is case}
        assert OURS in measured
        if not case.is_another_size:
            assert set(measured) >= {each.name for each in benchmark.contestants if not each.cases}
        given |= set(measured[OURS])
        for figures in measured.values():
            assert all(figure["rounds"] for figure in figures.values())
    # Some figures exist in some cases only.
    assert given == {figure.name for figure in benchmark.figures}
    assert all(goal["value"] is not None for goal in result["goals"])
    assert (tmp_path / f"{name}.png").stat().st_size


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("engine", ["pgqueuer", "procrastinate", "run"])
def test_workers_in_trouble(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick run cuts all connections once: no call is lost, none is billed again, and the status has the money."""
    for variable in (ENGINES, TROUBLES):
        monkeypatch.setenv(variable, "")
    part = ["trouble", "--quick", "--engine", engine, "--trouble", "cuts", "--json", str(tmp_path / "report.json")]
    assert main(part) == 0
    report: dict[str, Any] = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    [result] = report["benchmarks"]
    figures = {name: figure["median"] for name, figure in result["cases"]["cuts"][engine].items()}
    assert set(figures) == {figure.name for figure in BENCHMARKS["trouble"].figures}
    assert figures["used"] > 0
    assert (figures["twice"], figures["lost"], figures["uncounted"]) == (0, 0, 0)


@pytest.mark.process
async def test_a_contestant_and_its_server_have_processes_of_their_own() -> None:
    """A full run measures the contestant in one process and the server in another."""
    benchmark = BENCHMARKS["fan-in"]
    [case] = benchmark.cases
    [ours] = (each for each in benchmark.contestants if each.name == OURS)
    figures = await run_pair(benchmark, case, ours)
    assert set(figures) == {figure.name for figure in benchmark.figures}
    assert figures["requests"] == case.full.look_ups / 100


def test_without_a_name_all_benchmarks_run() -> None:
    """Without a name on the command line all contests run, in the order of the registry."""
    assert options_of(["--quick"]).names == CONTESTS


@pytest.mark.parametrize("name", sorted(set(READERS) - {OURS}))
def test_every_reader_gives_the_same_values(name: str) -> None:
    """Every decoder reads the same values of each entry, with the same types."""
    ours, theirs = READERS[OURS](), READERS[name]()
    for each in NAMES:
        assert _typed(getattr(theirs, each)(body(each))) == _typed(getattr(ours, each)(body(each)))
    assert _typed(theirs.details(many_lines(3))) == _typed(ours.details(many_lines(3)))


def test_a_name_that_no_benchmark_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown name ends the command before a benchmark runs."""
    with pytest.raises(SystemExit) as ended:
        main(["no-such"])
    assert ended.value.code == 2
    assert "no-such" in capsys.readouterr().err


def _typed(values: list[tuple[Any, ...]]) -> list[list[tuple[type, Any]]]:
    assert values
    return [[(type(value), value) for value in entry] for entry in values]
