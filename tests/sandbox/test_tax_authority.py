"""What the sandbox's tax authority knows when, and how often it may be asked."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from ekb_async.sandbox import SampleInvoice, Vendor, VendorReply
from tests.support.sandbox_calls import connected, content_of, query_for, refusal_of, send

UNKNOWN = (400, "查验成功所查发票不存在")
TOO_OFTEN = (400, "超过该张发票当日查验次数(请于次日再次查验)!")
UTC8 = datetime.timezone(datetime.timedelta(hours=8))
DAY = datetime.date(2024, 3, 5)
EVENING = datetime.datetime(2024, 3, 5, 23, 59, 50, tzinfo=UTC8).timestamp()


class Checks:
    """Checks of one invoice dated `DAY`, at given seconds after 23:59:50 of that day."""

    def __init__(self, *, is_added: bool = True, **rules: Any) -> None:
        self.vendor = Vendor(verify_rate=0, **rules)
        self._query = query_for(self.vendor, EVENING)
        invoice = SampleInvoice(number="00000007", code="0310", date=DAY)
        self.invoice_id = invoice.id_in(self.vendor.rules.corporation)
        if is_added:
            self.vendor.add_invoice(self.invoice_id, invoice)

    def by_id(self, later: float, invoice_id: str = "") -> VendorReply:
        """Verify by ID."""
        body = {"invoiceId": invoice_id or self.invoice_id}
        return send(self.vendor, "verify_by_id", body, self._query, EVENING + later)

    def by_fields(self, later: float, number: str = "00000007", day: str = "20240305") -> VendorReply:
        """Verify by fields."""
        body = {"fpdm": "0310", "fphm": number, "kprq": day}
        return send(self.vendor, "verify_by_fields", body, self._query, EVENING + later)


class TestNotYetKnown:
    def test_until_the_next_day(self) -> None:
        """An invoice of today does not exist yet, by ID and by fields; from midnight at UTC+8 it does."""
        checks = Checks(not_yet_known=True)
        for check in (checks.by_id, checks.by_fields):
            assert refusal_of(check(0)) == UNKNOWN
            assert refusal_of(check(9.9)) == UNKNOWN
            assert content_of(check(10))["value"]["invno"] == "00000007"

    def test_date_in_the_request(self) -> None:
        """For an invoice that was not added, the date in the request decides."""
        checks = Checks(is_added=False, not_yet_known=True)
        assert refusal_of(checks.by_fields(0)) == UNKNOWN
        assert checks.by_fields(0, day="20240304").status == 200
        assert checks.by_fields(10).status == 200

    def test_off_by_default(self) -> None:
        """By default an invoice of today is known."""
        assert Checks().by_id(0).status == Checks().by_fields(0).status == 200


class TestChecksPerDay:
    def test_five_a_day(self) -> None:
        """Both calls together check an invoice so many times a day, and as often again from midnight at UTC+8."""
        checks = Checks(checks_per_day=5)
        replies = [checks.by_id(0), checks.by_fields(1), checks.by_id(2), checks.by_fields(3), checks.by_id(4)]
        assert [reply.status for reply in replies] == [200] * 5
        assert refusal_of(checks.by_id(5)) == refusal_of(checks.by_fields(6)) == TOO_OFTEN
        assert [checks.by_id(10).status for _ in range(6)] == [200] * 5 + [400]

    def test_each_invoice_has_its_own(self) -> None:
        """The checks of one invoice do not count for another, and those that find nothing count too."""
        checks = Checks(checks_per_day=1)
        assert [checks.by_id(0).status, checks.by_id(0, "c:1:2").status, checks.by_id(0).status] == [200, 200, 400]
        assert refusal_of(checks.by_id(0, "unknown-1")) == UNKNOWN
        assert refusal_of(checks.by_id(0, "unknown-1")) == TOO_OFTEN

    def test_no_limit_by_default(self) -> None:
        """By default there is no limit."""
        checks = Checks()
        assert {checks.by_id(0).status for _ in range(20)} == {200}


@pytest.mark.parametrize("call", ["verify_by_id", "verify_by_fields"])
async def test_over_sockets(call: str) -> None:
    """The rules go by the time of the request: an invoice with today's date does not exist."""
    async with connected(verify_rate=0, not_yet_known=True) as at:
        today = datetime.datetime.now(UTC8).date()
        invoice = SampleInvoice(number="1", code="0310", date=today)
        invoice_id = invoice.id_in(at.box.vendor.rules.corporation)
        at.box.vendor.add_invoice(invoice_id, invoice)
        fields = {"fpdm": "0310", "fphm": "1", "kprq": f"{today:%Y%m%d}"}
        answer = await at.answer(call, {"invoiceId": invoice_id} if call == "verify_by_id" else fields)
        assert answer.refusal == UNKNOWN
