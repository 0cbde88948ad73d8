"""Which refused checks wait for the next day, and until when."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekb_async.backlog import BacklogTiming
from ekb_async.backlog.run.calls.next_day import NextDay
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.values.calls import Call, day_of, start_of
from ekb_async.errors import (
    ApiError,
    ConfigError,
    EkbConnectionError,
    EkbError,
    InvalidRequestError,
    InvoiceMismatchError,
    InvoiceNotFoundError,
    ServerError,
)
from ekb_async.models.wire.coerce import CHINA

NOON = datetime(2030, 3, 10, 12, tzinfo=CHINA).timestamp()
NOT_FOUND = InvoiceNotFoundError("查验成功所查发票不存在", status=400)


def call(
    kind: str = "verify_by_fields", date: str = "20300310", waits: int = 0, checks: int = 0, now: float = NOON
) -> Call:
    return Call(1, "", 1, kind, "", "", "", "", None, None, "", "", date, waits, checks, day_of(now))


def next_day(now: float = NOON) -> NextDay:
    return NextDay(BacklogTiming(), lambda: now)


@pytest.mark.parametrize(
    "text",
    [
        "超过该张发票当日查验次数(请于次日再次查验)!",
        "当日开具发票可于次日进行查验",
        "该发票超过当天查验次数",
        "已达到今日查验上限",
        "请明天再试",
        "超过当日次数限制",
        "今日查验过于频繁，请明日再试",
        "今日已达到查验上限，请稍后再试",
    ],
)
@pytest.mark.parametrize("error_type", [InvalidRequestError, ServerError, InvoiceNotFoundError])
def test_texts_that_mean_another_day(text: str, error_type: type[ApiError]) -> None:
    """A text that refuses the check for today waits, whatever the class of the error and the date of the invoice."""
    error = error_type(text, status=400)
    assert next_day().is_awaited_by(call(date=""), error)
    assert next_day().is_awaited_by(call(date="20200101", waits=2), error)
    assert not next_day().is_awaited_by(call(date="", waits=3), error)
    assert not next_day().is_awaited_by(call(kind="verify"), error)
    assert not next_day().is_awaited_by(call(), error.met_before_sending())


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError("JSON请求参数不正确", status=412),
        InvalidRequestError("证明天津的发票", status=400),
        InvoiceMismatchError("查验成功所查发票不一致", status=400),
        EkbConnectionError("次日", sent=True),
    ],
)
def test_other_errors_do_not_wait(error: EkbError) -> None:
    """Other refusals, and a lost connection, say nothing about the next day."""
    assert not next_day().is_awaited_by(call(), error)


@pytest.mark.parametrize(
    ("date", "waits", "awaited"),
    [
        ("20300310", 0, True),
        ("20300311", 0, True),
        ("20300309", 0, False),
        ("20300309", 1, True),
        ("20300308", 1, False),
        ("20300308", 2, True),
        ("20300307", 3, False),
        ("", 0, False),
        ("00010101", 0, False),
        ("10101", 0, False),
        ("2030-13-45", 0, False),
    ],
)
def test_invoices_that_do_not_exist_yet(date: str, waits: int, awaited: bool) -> None:
    """What does not exist waits if it was dated today or later when it was first checked, for three days at most."""
    assert next_day().is_awaited_by(call(date=date, waits=waits), NOT_FOUND) is awaited


def test_only_checks_are_counted() -> None:
    """Five checks a day are spent; other kinds of calls have no such limit."""
    assert [next_day().has_spent(call(checks=number)) for number in (0, 4, 5, 9)] == [False, False, True, True]
    assert next_day().has_spent(call(checks=3), 3)
    assert not next_day().has_spent(call(kind="ocr", checks=9))


def test_checks_of_yesterday_are_not_counted() -> None:
    """A call that was claimed before midnight may be checked again after it."""
    claimed = call(checks=5)
    assert next_day().has_spent(claimed)
    assert not next_day(NOON + 86_400).has_spent(claimed)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),
    st.floats(0, 86_400),
    st.floats(0, 1),
)
def test_the_due_time(now: datetime, next_day_seconds: float, share: float) -> None:
    """It is on the next day at UTC+8 after the set time, and never so far away that a wrong clock is suspected."""
    moment = now.replace(tzinfo=CHINA).timestamp()
    timing = BacklogTiming(next_day=next_day_seconds, next_day_spread=(86_400 - next_day_seconds) * share)
    due_at = NextDay(timing, lambda: moment).due_at()
    assert moment < due_at <= moment + LIMITS.longest_wait_seconds
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=CHINA) + timedelta(days=1)
    assert due_at >= midnight.timestamp() + next_day_seconds
    assert start_of(day_of(moment)) == midnight.timestamp() - 86_400


def test_times_longer_than_a_day() -> None:
    """Longer times are refused: a call would be due on the day after the next, and seem to have a wrong due time."""
    with pytest.raises(ConfigError, match="at most a day together"):
        BacklogTiming(next_day=80_000, next_day_spread=10_000)
    with pytest.raises(ConfigError, match="next_day must be a number"):
        BacklogTiming(next_day=-1)
