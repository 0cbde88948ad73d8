"""Pictures of the documentation that are drawn from the code: `python -m tests.support.drawings` writes them again.

`call-states.svg` has a lane for each phase of a call and an arrow for each transition, in the order of the table in
`ekb_async.queue.states`, which a test compares with the states themselves. `next-steps.svg` has the rows of the table
in `ekb_async.protocol.retry`; a row that changes needs its Chinese here. `margin.svg` shows how the margin follows the
jitter of a line: the rule of the pace in front of a limiter that refuses what arrives within a second.
"""

from __future__ import annotations

import random
import re
from html import escape
from pathlib import Path
from typing import NamedTuple

from ekb_async.pacing.rule import Bucket, PaceSettings
from ekb_async.protocol import retry
from ekb_async.queue import states
from ekb_async.queue.jobs import Phase
from tests.support.pages import CHINESE, ENGLISH

_ROW = re.compile(r"^\| (\w+) \| (.+?) \| (\w+) \|$", re.MULTILINE)
_LABELS, _LANE, _HEAD, _LINE = 190, 100, 44, 24
_INK, _FAINT, _ARROW, _END = "#334155", "#cbd5e1", "#0f766e", "#b45309"

_CONDITIONS = {
    "a call that came first (token, upload, file URL) failed, after retries of its own": "令牌、上传或链接已失败",
    "token refused with 403 a moment after it was issued": "刚获取的令牌被 403 拒绝",
    "token refused; it was the first, or the second if sessions share it": "令牌被拒绝，第一次；共用令牌时也含第二次",
    "no permission; keys or given token refused": "没有权限，或密钥、给定的令牌被拒绝",
    "refused for the rate, a call with slots, fewer than 50 times": "被限流，调用使用名额，不满 50 次",
    "file not recognised, no entries in the reply, an attachment's first URL": "识别失败，没有发票，附件的第一个链接",
    "answer of a billed call lost, `repeat_unknown` is False": "计费调用没有收到结果，`repeat_unknown` 为 False",
    "provider failed, fewer than 3 tries": "识别服务出错，不满 3 次",
    "transient, fewer than `max_tries` tries": "暂时的失败，不满 `max_tries` 次",
    "anything else": "其他",
}
_STEPS = {
    "fail": "失败",
    "again, with the same token": "用同一令牌再试",
    "again, with a fresh token": "用新令牌再试",
    "fail, for all queued calls": "失败，排队中的同类调用也失败",
    "again, with the next slot": "用下一个名额再试",
    "again, with a fresh URL": "用新链接再试",
    "fail with `OutcomeUnknownError`": "失败：`OutcomeUnknownError`",
    "again after a wait, with a fresh URL the first time": "等待后再试，第一次换新链接",
    "again after a wait": "等待后再试",
}
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


def next_steps(*, chinese: bool) -> str:
    """Return the picture of what follows a failed attempt: the first condition from the top that holds decides."""
    assert retry.__doc__ is not None
    table = re.findall(r"^\| (?!failure|---)(.+?) \| (.+?) \|$", retry.__doc__, re.MULTILINE)
    height = len(table) * 34 + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 840 {height}" width="840" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="840" height="{height}" fill="#ffffff"/>',
        f'<line x1="16" y1="17" x2="16" y2="{height - 22}" stroke="{_FAINT}" stroke-width="2"/>',
    ]
    for number, (condition, step) in enumerate(table):
        middle = number * 34 + 21
        colour = _END if step.startswith("fail") else _ARROW
        shown = (_CONDITIONS[condition], _STEPS[step]) if chinese else (condition, step)
        words = [escape(text.replace("`", "")) for text in shown]
        lines += [
            f'<circle cx="16" cy="{middle}" r="4" fill="{colour}"/>',
            f'<text x="30" y="{middle + 4}" fill="{_INK}">{words[0]}</text>',
            f'<line x1="488" y1="{middle}" x2="522" y2="{middle}" stroke="{colour}" stroke-width="1.5"/>',
            f'<path d="M530 {middle} l-8 -4 v8 z" fill="{colour}"/>',
            f'<text x="538" y="{middle + 4}" fill="{colour}">{words[1]}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


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
        **{language / "pictures" / "next-steps.svg": next_steps(chinese=language is CHINESE) for language in _WORDS},
        **{language / "pictures" / "margin.svg": margin(words) for language, words in _WORDS.items()},
    }


if __name__ == "__main__":
    for place, content in pictures().items():
        place.parent.mkdir(exist_ok=True)
        place.write_text(content, encoding="utf-8")
