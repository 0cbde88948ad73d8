"""What the vendor has recorded about the enterprise: its staff, its licences, and its own names as a buyer."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

import msgspec

from ekb_async.sandbox.vendor.invoices.answers import BUYER_TAX_ID
from ekb_async.sandbox.vendor.invoices.sample import BUYER
from ekb_async.sandbox.vendor.rules import Rules

OCR_LICENCE = "110407"
OPEN_INTERFACE_LICENCE = "219902"

_NAMES = {OCR_LICENCE: "OCR智能票据识别", OPEN_INTERFACE_LICENCE: "开放接口"}
_YEAR_SECONDS = 365 * 86_400
_UTC8 = datetime.timezone(datetime.timedelta(hours=8))
_IN_FORCE = "using"
_LAPSED = "expired"
"""The state of a licence whose time is over. The pages of the vendor name `using` only."""


class StaffMember(msgspec.Struct, frozen=True, kw_only=True):
    """One member of staff; one that is not `active` is in no answer, and may not verify."""

    id: str
    name: str
    code: str = ""
    email: str = ""
    cellphone: str = ""
    user_id: str = ""
    active: bool = True

    def item(self) -> dict[str, Any]:
        """Return the answer's item."""
        return {
            "id": self.id,
            "name": self.name,
            "nameSpell": "",
            "code": self.code,
            "active": self.active,
            "authState": True,
            "external": False,
            "email": self.email,
            "cellphone": self.cellphone,
            "userId": self.user_id,
            "departments": [],
            "note": "",
        }


_ATTRIBUTES = {"STAFFID": "id", "CODE": "code", "CELLPHONE": "cellphone", "MAIL": "email", "USERID": "user_id"}
STAFF_KEYS = frozenset(_ATTRIBUTES)


class StaffBook:
    """The staff: those that were added, and those whose IDs the rules allow."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._people: dict[str, StaffMember] = {}

    def add(self, person: StaffMember) -> None:
        """Add a person, or change the one with this ID."""
        self._people[person.id] = person
        if self._rules.staff is not None:
            (self._rules.staff.add if person.active else self._rules.staff.discard)(person.id)

    def may_verify(self, staff_id: str) -> bool:
        """Return whether a verification accepts this staff ID."""
        if self._rules.staff is not None:
            return staff_id in self._rules.staff
        person = self._people.get(staff_id)
        return person is None or person.active

    def find(self, key: str, values: Iterable[str]) -> list[StaffMember]:
        """Return the active people of whom `key`, one of `STAFF_KEYS`, is one of the values."""
        allowed = self._rules.staff
        people = dict(self._people)
        for staff_id in (allowed or set()) - people.keys():
            people[staff_id] = StaffMember(id=staff_id, name=staff_id.rpartition(":")[2])
        wanted, attribute = set(values), _ATTRIBUTES[key]
        return [
            person
            for person in people.values()
            if person.active and (allowed is None or person.id in allowed) and getattr(person, attribute) in wanted
        ]


class Licence(msgspec.Struct, kw_only=True):
    """One licence; `seats` is the number of people it is for, if it counts people.

    `expires_at` is in epoch seconds; None = a year after the start of the vendor.
    """

    code: str
    name: str
    expires_at: float | None = None
    state: str = _IN_FORCE
    seats: int | None = None
    used: int | None = None


class LicenceBook:
    """The licences of the enterprise, at first those of OCR and of the open interface."""

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self._licences = {code: Licence(code=code, name=name) for code, name in _NAMES.items()}

    def set(
        self, code: str, *, expires_at: float | None, state: str | None, seats: int | None, used: int | None
    ) -> None:
        """Change a licence, or add it; None leaves a value as it is."""
        licence = self._licences.setdefault(code, Licence(code=code, name=_NAMES.get(code, f"功能{code}")))
        changes = {"expires_at": expires_at, "state": state, "seats": seats, "used": used}
        for name, value in changes.items():
            if value is not None:
                setattr(licence, name, value)

    def in_force(self, code: str, at: float) -> bool:
        """Return whether the enterprise has this licence at `at`."""
        licence = self._licences.get(code)
        return licence is not None and self._state(licence, at) == _IN_FORCE

    def items(self, at: float) -> list[dict[str, Any]]:
        """Return the answer's items."""
        return [self._item(licence, at) for licence in self._licences.values()]

    def _item(self, licence: Licence, at: float) -> dict[str, Any]:
        kind = "date" if licence.seats is None else "peoples"
        expires_at = datetime.datetime.fromtimestamp(self._expires_at(licence), _UTC8)
        return {
            "powerCode": licence.code,
            "state": self._state(licence, at),
            "chargeInfo": {
                "type": kind,
                "expireTime": f"{expires_at:%Y-%m-%d %H:%M:%S}",
                "sumPeople": licence.seats,
                "usedPeople": licence.used,
            },
            "power": {"name": licence.name, "code": licence.code, "chargeType": kind, "authorizeType": "corporation"},
        }

    def _state(self, licence: Licence, at: float) -> str:
        has_ended = licence.state == _IN_FORCE and at >= self._expires_at(licence)
        return _LAPSED if has_ended else licence.state

    def _expires_at(self, licence: Licence) -> float:
        return self.started_at + _YEAR_SECONDS if licence.expires_at is None else licence.expires_at


class Payer(msgspec.Struct, frozen=True, kw_only=True):
    """One name and tax number of the enterprise as a buyer; the end of its former name is in epoch seconds."""

    name: str = BUYER
    tax_number: str = BUYER_TAX_ID
    active: bool = True
    former_name: str | None = None
    former_name_until: float | None = None

    def item(self) -> dict[str, Any]:
        """Return the answer's item."""
        until = self.former_name_until
        return {
            "name": self.name,
            "payerNo": self.tax_number,
            "active": self.active,
            "historicalName": self.former_name,
            "historicalNameExpirationTime": None if until is None else int(until * 1000),
        }
