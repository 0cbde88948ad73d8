"""The measured part of the pages about benchmarks: `python -m tests.support.measured_pages` writes it again.

Tables and pictures are made from `benchmarks/measured/report.json`, between two comments of the pages, in the order of
the report. So a new report needs this command and no editing.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

import msgspec

from benchmarks.contest import OURS, Figure
from benchmarks.registry import BENCHMARKS
from benchmarks.results import BenchmarkResult, FigureResult, Report
from tests.support.measured_words import CHINESE_WORDS
from tests.support.pages import CHINESE, ENGLISH, ROOT

BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
_REPORT = ROOT / "benchmarks" / "measured" / "report.json"
_NAMES, _PANELS, _ROW = 190, 620, 22
_OURS, _PEER, _INK = "#0f766e", "#cbd5e1", "#334155"

Words = Callable[[str], str]


def report() -> Report:
    """Return the report that is in the repository."""
    return msgspec.json.decode(_REPORT.read_bytes(), type=Report)


def in_chinese(text: str) -> str:
    """Return the Chinese for words of the benchmarks, or the text itself."""
    return CHINESE_WORDS.get(text, text)


def in_english(text: str) -> str:
    """Return the text."""
    return text


LANGUAGES: dict[Path, Words] = {CHINESE: in_chinese, ENGLISH: in_english}


def contents() -> dict[Path, str]:
    """Return the pages and pictures by their places."""
    found = {}
    for language, words in LANGUAGES.items():
        measured = report()
        sections = [_machine(measured, words)]
        for result in measured.benchmarks:
            sections.append(_section(result, words))
            found[language / "pictures" / f"measured-{result.name}.svg"] = _picture(result, words)
        page = language / "benchmarks.md"
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        found[page] = f"{before}{BEGIN}\n\n" + "\n\n".join(sections) + f"\n\n{END}{after}"
    return found


def _machine(measured: Report, words: Words) -> str:
    machine = measured.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    labels = map(words, ("Processor", "Cores", "System", "Versions"))
    values = (machine.processor, machine.cores, machine.system, f"Python {machine.python}, {libraries}")
    head = "| 环境 | |" if words is in_chinese else "| Machine | |"
    return "\n".join(
        [head, "|---|---|", *(f"| {label} | {value} |" for label, value in zip(labels, values, strict=True))]
    )


def _section(result: BenchmarkResult, words: Words) -> str:
    figures = _figures(result)
    has_cases = len(result.cases) > 1
    names = [words("Case"), words("Way")] if has_cases else [words("Way")]
    lines = [
        f"### {words(result.title)}",
        "",
        f"![{words(result.title)}](pictures/measured-{result.name}.svg)",
        "",
        _row([*names, *(words(figure.heading) for figure in figures)]),
        "|---" * len(names) + "|" + "---:|" * len(figures),
    ]
    for case, contestants in result.cases.items():
        for name, found in contestants.items():
            if found:
                label = [words(case), words(name)] if has_cases else [words(name)]
                lines.append(_row([*label, *(_cell(figure, found.get(figure.name)) for figure in figures)]))
    return "\n".join(lines)


def _figures(result: BenchmarkResult) -> list[Figure]:
    """Return the figures that any contestant has."""
    measured = {name for contestants in result.cases.values() for found in contestants.values() for name in found}
    return [figure for figure in BENCHMARKS[result.name].figures if figure.name in measured]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(figure: Figure, found: FigureResult | None) -> str:
    return "–" if found is None else f"{found.median:,.{figure.digits}f}"


def _picture(result: BenchmarkResult, words: Words) -> str:
    """Return bars for the figures that the benchmark draws, a row of panels for each case."""
    benchmark = BENCHMARKS[result.name]
    figures = [figure for figure in _figures(result) if figure.name in benchmark.drawn]
    panel = _PANELS // max(2, len(figures))
    lines: list[str] = []
    top = 8
    for case, contestants in result.cases.items():
        present = {name: found for name, found in contestants.items() if found}
        for column, figure in enumerate(figures):
            heading = (
                words(figure.heading)
                if len(result.cases) == 1
                else f"{words(case)}{words(': ')}{words(figure.heading)}"
            )
            left = _NAMES + column * panel
            lines.append(f'<text x="{left}" y="{top + 14}" font-weight="bold" fill="{_INK}">{escape(heading)}</text>')
            largest = max((found[figure.name].median for found in present.values() if figure.name in found), default=0)
            for row, (name, found) in enumerate(present.items()):
                median = found[figure.name].median if figure.name in found else 0.0
                length = median / largest * panel / 2 if largest else 0.0
                lines += _bar(name, length, _cell(figure, found.get(figure.name)), left, top + 22 + row * _ROW)
        for row, name in enumerate(present):
            at = f'x="{_NAMES - 8}" y="{top + 36 + row * _ROW}"'
            lines.append(f'<text {at} text-anchor="end" fill="{_INK}">{escape(words(name))}</text>')
        top += 34 + len(present) * _ROW
    width = _NAMES + len(figures) * panel
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}"'
        ' font-family="sans-serif" font-size="12">'
    )
    return "\n".join([opening, f'<rect width="{width}" height="{top}" fill="#ffffff"/>', *lines, "</svg>", ""])


def _bar(name: str, length: float, label: str, left: int, top: int) -> list[str]:
    colour = _OURS if name == OURS else _PEER
    return [
        f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{_ROW - 6}" fill="{colour}"/>',
        f'<text x="{left + length + 5:.1f}" y="{top + 13}" fill="{_INK}">{label}</text>',
    ]


def words_without_chinese() -> set[str]:
    """Return the texts of the report that have no Chinese and are not only names of libraries."""
    texts = set()
    for result in report().benchmarks:
        texts |= {result.title, *result.cases, *(figure.heading for figure in _figures(result))}
    return {text for text in texts if text not in CHINESE_WORDS and " " in text}


if __name__ == "__main__":
    for place, content in contents().items():
        place.write_text(content, encoding="utf-8")
