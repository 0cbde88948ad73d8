"""What follows a failure: each cell of the table in the documentation, and the waits."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import ekb_async
from ekb_async import (
    AuthError,
    EkbConnectionError,
    EkbError,
    EkbTimeoutError,
    InvoiceNotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ProviderError,
    ProxyError,
    RecognitionError,
    ResponseError,
    ServerError,
    SessionConfig,
    ThrottledError,
)
from ekb_async.protocol.retry import Again, History, RefusedToken, Step, jittered, next_step

DOCS = Path(ekb_async.__file__).parents[1] / "docs"
NEW = RefusedToken.NEW
OWN = RefusedToken.OWN
SHARED = RefusedToken.SHARED
GIVEN = RefusedToken.GIVEN


def lost_server_error() -> ServerError:
    error = ServerError("bad gateway", status=502)
    error.lost = True
    return error


# By failure: the error, and what its history has besides the kind of the call.
FAILURES: dict[str, tuple[Callable[[], EkbError], dict[str, object]]] = {
    "no connection": (lambda: EkbConnectionError("refused", sent=False), {}),
    "connection broken after the call was sent": (lambda: EkbConnectionError("reset", sent=True), {}),
    "no answer in time, call not sent": (lambda: EkbTimeoutError("late", sent=False), {}),
    "no answer in time, call sent": (lambda: EkbTimeoutError("late", sent=True), {}),
    "answer truncated or unreadable": (lambda: ResponseError("cut off", lost=True), {}),
    "answer that every attempt would get damaged": (lambda: ResponseError("bad gzip", lost=True, settled=True), {}),
    "answer without what it must hold": (lambda: ResponseError("no token"), {}),
    "5xx that the vendor wrote": (lambda: ServerError("系统错误", status=500), {}),
    "5xx that a gateway wrote": (lost_server_error, {}),
    "501, 505 to 519": (lambda: ServerError("not implemented", status=501), {}),
    "refused for the rate": (lambda: ThrottledError("too fast", status=429), {}),
    "refused for the rate, the 50th time": (lambda: ThrottledError("too fast", status=429), {"refusals": 49}),
    "403 with a token issued a moment ago": (lambda: AuthError("no", status=403), {"refused_token": NEW}),
    "token refused, fetched by this session": (lambda: AuthError("no", status=401), {"refused_token": OWN}),
    "token refused, the second from this session": (
        lambda: AuthError("no", status=401),
        {"refused_token": OWN, "discarded_tokens": 1},
    ),
    "token refused, the second from a shared store": (
        lambda: AuthError("no", status=401),
        {"refused_token": SHARED, "discarded_tokens": 1},
    ),
    "given token or keys refused": (
        lambda: AuthError("no", status=401),
        {"refused_token": GIVEN, "keys_refused": True},
    ),
    "feature not enabled": (lambda: PermissionDeniedError("没有权限", status=403), {}),
    "file not recognised, first URL of an attachment": (lambda: RecognitionError("识别失败"), {"renewable_url": True}),
    "file not recognised, a URL of the caller's": (lambda: RecognitionError("识别失败"), {}),
    "recognition provider in trouble": (lambda: ProviderError("第三方出现问题"), {}),
    "recognition provider in trouble, third try": (lambda: ProviderError("第三方出现问题"), {"tries": 3}),
    "wrong request, unknown invoice or person": (lambda: InvoiceNotFoundError("none"), {}),
    "proxy refuses the connection": (lambda: ProxyError("forbidden", status=403), {}),
    "proxy in trouble": (lambda: ProxyError("bad gateway", status=502), {}),
    "token, upload or file URL failed before the call": (
        lambda: EkbTimeoutError("late", sent=True).met_before_sending(),
        {},
    ),
    "any transient failure, last try": (lambda: ServerError("系统错误", status=500), {"tries": 5}),
}
FREE: dict[str, object] = {}
PAID: dict[str, object] = {"billed": True, "has_slots": True}
COLUMNS = [(FREE, True), (PAID, True), (PAID, False)]


IN_CHINESE = {
    "again after a wait": "等待后再试",
    "next slot": "下一名额",
    "same token": "同一令牌",
    "fresh token": "新令牌",
    "fresh URL": "新链接",
    "fail": "失败",
    "fail for all": "全部失败",
    "outcome unknown": "结果未知",
}


def documented(language: str = "en") -> dict[str, list[str]]:
    """Return the cells of the documentation's table by failure."""
    text = (DOCS / language / "retries.md").read_text(encoding="utf-8")
    lines = [re.split(r" \| ", line.strip("| ")) for line in text.splitlines() if line.startswith("|")]
    return {failure: cells for failure, *cells in lines[2:]}


def named(step: Step) -> str:
    """Return a step in the words of the documentation."""
    if isinstance(step, Again):
        if step.counts:
            return "again after a wait"
        return "fresh token" if step.fresh_token else "fresh URL" if step.fresh_url else "repeated"
    return (
        "outcome unknown" if isinstance(step.error, OutcomeUnknownError) else "fail for all" if step.for_all else "fail"
    )


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("column", range(3))
def test_the_documented_step_follows(failure: str, column: int) -> None:
    """Each failure is followed by the step in the documentation, for each kind of call."""
    make, tried = FAILURES[failure]
    call, repeat_unknown = COLUMNS[column]
    history = History(**{**call, **tried})  # type: ignore[arg-type]  # fields by name
    if failure.startswith("file not recognised") and not call:
        history = History()  # only paid calls have files
    step = next_step(make(), history, SessionConfig(max_tries=5, repeat_unknown=repeat_unknown))
    said = documented()[failure][column]
    assert named(step) == {"next slot": "repeated", "same token": "repeated"}.get(said, said)


def test_the_documentation_is_complete() -> None:
    """The table has each of these failures once, and no other."""
    assert list(documented()) == list(FAILURES)


def test_the_chinese_table_says_the_same() -> None:
    """Its rows are those of the English one, in the same order."""
    english, chinese = documented(), documented("zh")
    assert list(chinese.values()) == [[IN_CHINESE[cell] for cell in cells] for cells in english.values()]


def test_waits_grow_to_their_limit() -> None:
    """Waits double from half a second to `max_backoff`, and are at least what the vendor asks for."""
    config = SessionConfig(max_tries=100, max_backoff=3.0)
    history, waits = History(), []
    for _ in range(5):
        step = next_step(ServerError("系统错误", status=500), history, config)
        assert isinstance(step, Again)
        history = step.history
        waits.append(step.wait)
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert history.tries == 6
    for asked, expected in ((2.5, 2.5), (60.0, 3.0), (0.1, 0.5)):
        step = next_step(ServerError("系统错误", status=500, retry_after=asked), History(), config)
        assert isinstance(step, Again)
        assert step.wait == expected


def test_jitter_only_lengthens() -> None:
    """A wait is lengthened by a tenth at most and never shortened."""
    waits = [jittered(2.0) for _ in range(200)]
    assert 2.0 <= min(waits) < max(waits) <= 2.2


def test_a_decision_changes_nothing() -> None:
    """The same error and history always give the same step, and neither is changed."""
    history = History(billed=True, has_slots=True, renewable_url=True)
    error = RecognitionError("识别失败")
    first, second = (next_step(error, history, SessionConfig()) for _ in range(2))
    assert first == second
    assert history == History(billed=True, has_slots=True, renewable_url=True)


def test_a_fresh_url_is_fetched_once() -> None:
    """A file that is not recognised with its second URL either fails the call."""
    step = next_step(RecognitionError("识别失败"), History(renewable_url=True), SessionConfig())
    assert isinstance(step, Again)
    assert step.fresh_url
    assert named(next_step(RecognitionError("识别失败"), step.history, SessionConfig())) == "fail"
    with_entries = RecognitionError("识别失败")
    with_entries.has_entries = True
    assert named(next_step(with_entries, History(renewable_url=True), SessionConfig())) == "fail"
