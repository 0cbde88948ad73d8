"""Pictures of the documentation that are drawn from the code: `python -m tests.support.drawings` writes them again.

`call-states.svg` has a lane for each phase of a call and an arrow for each transition, in the order of the table in
`ekb_async.queue.states`, which a test compares with the states themselves. `margin.svg` shows how the margin follows
the jitter of a line: the rule of the pace in front of a limiter that refuses what arrives within a second.
"""

from __future__ import annotations

import random
import re
from html import escape
from pathlib import Path
from typing import NamedTuple

from ekb_async.pacing.rule import Bucket, PaceSettings
from ekb_async.queue import states
from ekb_async.queue.jobs import Phase
from tests.support.pages import CHINESE, ENGLISH

_ROW = re.compile(r"^\| (\w+) \| (.+?) \| (\w+) \|$", re.MULTILINE)
_LABELS, _LANE, _HEAD, _LINE = 190, 100, 44, 24
_INK, _FAINT, _ARROW, _END = "#334155", "#cbd5e1", "#0f766e", "#b45309"

_CALLS = 3_000
_WORDS = {
    CHINESE: ("调用次数", "余量（毫秒）", "被限流的调用"),
    ENGLISH: ("calls", "margin in milliseconds", "refused for the rate"),
}


class Transition(NamedTuple):
    """An event that takes a call from one phase to another."""

    phase: Phase
    event: str
    following: Phase


def transitions() -> list[Transition]:
    """Return the table of the states of a queue's calls."""
    assert states.__doc__ is not None
    return [
        Transition(Phase[phase], event, Phase[following])
        for phase, event, following in _ROW.findall(states.__doc__)
        if phase in Phase.__members__
    ]


def call_states() -> str:
    """Return the picture of all transitions."""
    drawn = transitions()
    width, height = _LABELS + len(Phase) * _LANE, _HEAD + len(drawn) * _LINE + 12
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="ui-monospace, monospace" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for phase in Phase:
        at = _lane(phase)
        lines.append(f'<text x="{at}" y="22" text-anchor="middle" font-weight="bold" fill="{_INK}">{phase.name}</text>')
        lines.append(f'<line x1="{at}" y1="30" x2="{at}" y2="{height - 8}" stroke="{_FAINT}"/>')
    for number, transition in enumerate(drawn):
        lines += _arrow(transition, _HEAD + number * _LINE + _LINE // 2)
    return "\n".join([*lines, "</svg>", ""])


def _lane(phase: Phase) -> int:
    return _LABELS + phase * _LANE + _LANE // 2


def _arrow(transition: Transition, height: int) -> list[str]:
    begin, end = _lane(transition.phase), _lane(transition.following)
    colour = _ARROW if transition.following < Phase.FAILED else _END
    back = 8 if end > begin else -8
    return [
        f'<text x="12" y="{height + 4}" fill="{_INK}">{escape(transition.event)}</text>',
        f'<circle cx="{begin}" cy="{height}" r="4" fill="{colour}"/>',
        f'<line x1="{begin}" y1="{height}" x2="{end - back}" y2="{height}" stroke="{colour}" stroke-width="1.5"/>',
        f'<path d="M{end} {height} l{-back} -4 v8 z" fill="{colour}"/>',
    ]


class Start(NamedTuple):
    """One start: the margin after it in milliseconds, and whether it was refused."""

    margin: float
    refused: bool


def starts() -> list[Start]:
    """Return 3,000 starts at one a second; the first half arrive with a jitter of 20 ms, the rest of 1 ms."""
    chance = random.Random(1)
    settings, bucket = PaceSettings.of(1.0, 0.01, 30.0), Bucket()
    now = refused_until = 0.0
    accepted_at = float("-inf")
    found: list[Start] = []
    for number in range(_CALLS):
        now = max(refused_until, bucket.opens(settings)) if found else now
        slot = bucket.take(now)
        arrived = now + abs(chance.gauss(0, 0.02 if number < _CALLS / 2 else 0.001))
        refused = arrived - accepted_at < 1
        if refused:
            refused_until = now + 0.1
            bucket.refuse(slot, None, refused_until, settings)
        else:
            accepted_at = arrived
            bucket.accept(settings)
        found.append(Start(bucket.margin(settings) * 1000, refused))
    return found


def margin(words: tuple[str, str, str]) -> str:
    """Return the picture of the margin, with the words for the axes and for a refused call."""
    calls, milliseconds, refused = words
    drawn = starts()
    points = [(60 + number * 0.25, 220 - start.margin * 3) for number, start in enumerate(drawn)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points[::5])
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 840 270" width="840" height="270"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="840" height="270" fill="#ffffff"/>',
        *(
            f'<line x1="60" y1="{y}" x2="810" y2="{y}" stroke="{_FAINT}"/>'
            f'<text x="52" y="{y + 4}" text-anchor="end" fill="{_INK}">{value}</text>'
            for value, y in ((value, 220 - value * 3) for value in range(0, 61, 20))
        ),
        *(
            f'<text x="{60 + value // 4}" y="238" text-anchor="middle" fill="{_INK}">{value:,}</text>'
            for value in range(0, _CALLS + 1, 500)
        ),
        f'<text x="60" y="24" fill="{_INK}">{milliseconds}</text>',
        f'<text x="810" y="258" text-anchor="end" fill="{_INK}">{calls}</text>',
        f'<circle cx="640" cy="20" r="4" fill="{_END}"/><text x="650" y="24" fill="{_INK}">{refused}</text>',
        f'<polyline points="{line}" fill="none" stroke="{_ARROW}" stroke-width="1.5"/>',
        *(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_END}"/>'
            for (x, y), start in zip(points, drawn, strict=True)
            if start.refused
        ),
    ]
    return "\n".join([*lines, "</svg>", ""])


def pictures() -> dict[Path, str]:
    """Return the content of every picture by its place; those without words are the same in both languages."""
    return {
        **{language / "pictures" / "call-states.svg": call_states() for language in (CHINESE, ENGLISH)},
        **{language / "pictures" / "margin.svg": margin(words) for language, words in _WORDS.items()},
    }


if __name__ == "__main__":
    for place, content in pictures().items():
        place.parent.mkdir(exist_ok=True)
        place.write_text(content, encoding="utf-8")
