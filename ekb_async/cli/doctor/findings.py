"""What a check finds, and how the checks are made in order.

A fault shows once: a check that cannot be made because of an earlier fault is skipped and names that one.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from ekb_async.cli.doctor.limits import LIMITS
from ekb_async.cli.language import texts
from ekb_async.cli.runner import ExitStatus, hint_of, is_hopeless, message_of
from ekb_async.errors import EkbError
from ekb_async.redaction.masking import redact

S = TypeVar("S")


class State(enum.StrEnum):
    """The outcome of a check."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    WARNING = "warning"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found; `advice` is one sentence on what to do, `status` how the command ends because of it."""

    state: State
    detail: str
    advice: str = ""
    status: ExitStatus = ExitStatus.OK


class Check(msgspec.Struct, Generic[S], frozen=True):
    """A check by its name; it is not made if one of the checks that it needs has failed or was not made for a fault."""

    name: str
    make: Callable[[S], Awaitable[Finding]]
    needs: tuple[str, ...] = ()


def try_again() -> str:
    """Return the advice about a fault that is the vendor's."""
    return texts("Try again; if this remains, give this line to the vendor's support.")


def ok(detail: str) -> Finding:
    return Finding(state=State.OK, detail=_shown(detail))


def warning(detail: str, advice: str) -> Finding:
    return Finding(state=State.WARNING, detail=_shown(detail), advice=_shown(advice))


def skipped(reason: str) -> Finding:
    return Finding(state=State.SKIPPED, detail=_shown(texts("not checked: {reason}", reason=reason)))


def failed(detail: str, advice: str, status: ExitStatus = ExitStatus.SOME_FAILED) -> Finding:
    return Finding(state=State.FAILED, detail=_shown(detail), advice=_shown(advice), status=status)


def failure(detail: str, error: EkbError, *, advice: str = "") -> Finding:
    """Return the finding about a call that failed, with the error's own hint unless there is better advice."""
    status = ExitStatus.HOPELESS if is_hopeless(error) else ExitStatus.SOME_FAILED
    what = texts("{problem}: {reason}", problem=detail, reason=message_of(error))
    return failed(what, advice or hint_of(error) or try_again(), status)


async def findings(checks: Iterable[Check[S]], subject: S) -> AsyncGenerator[tuple[str, Finding], None]:
    """Make the checks in their order and yield the name and the finding of each."""
    faults: dict[str, str] = {}
    for check in checks:
        fault = next((faults[name] for name in check.needs if name in faults), None)
        finding = await check.make(subject) if fault is None else skipped(texts("see {check}", check=shown_name(fault)))
        if finding.state is State.FAILED or fault is not None:
            faults[check.name] = fault or check.name
        yield check.name, finding


def shown_name(name: str) -> str:
    """Return the name of a check as lines for a person show it."""
    return {
        "settings": texts.word("check", "settings"),
        "proxy": texts.word("check", "proxy"),
        "address": texts.word("check", "address"),
        "certificate": texts.word("check", "certificate"),
        "platform": texts.word("check", "platform"),
        "keys": texts.word("check", "keys"),
        "clock": texts.word("check", "clock"),
        "ocr_licence": texts.word("check", "ocr licence"),
        "interface_licence": texts.word("check", "interface licence"),
        "staff": texts.word("check", "staff"),
        "state_directory": texts.word("check", "state directory"),
        "extras": texts.word("check", "extras"),
        "ocr_call": texts.word("check", "ocr call"),
    }[name]


def _shown(text: str) -> str:
    """Return a text, which may quote the vendor or the environment, without secrets and control characters."""
    masked = redact(text, max_characters=LIMITS.shown_characters)
    return "".join(letter if letter.isprintable() else " " for letter in masked)
