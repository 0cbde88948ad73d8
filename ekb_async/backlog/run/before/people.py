"""People that rows name by e-mail address, phone or number: the vendor is asked for their IDs, which is free."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from ekb_async.backlog.input.rows.staff import StaffKind, parse_staff
from ekb_async.backlog.run.before.lookups import as_met_before
from ekb_async.errors import EkbError, StaffNotFoundError
from ekb_async.protocol import endpoints

if TYPE_CHECKING:
    from ekb_async.session.session import EkbSession

_NAMES: dict[StaffKind, str] = {"email": "e-mail address", "phone": "phone number", "code": "staff number"}
_SHOWN_DIGITS = 4


class People:
    """The IDs of people, each looked up once by tenant and name, and again after `kept` seconds.

    Concurrent look-ups of one person share a request of the session.
    """

    def __init__(self, *, kept: float = math.inf) -> None:
        self._kept = kept
        self._found: dict[tuple[str, str], tuple[float, str]] = {}

    async def id_of(self, session: EkbSession, tenant: str, staff_id: str) -> str:
        """Return the ID of the person that a stored staff ID names.

        Raises `StaffNotFoundError` if no active person has that name, and the errors of the look-up, see `lookups`.
        """
        if (named := parse_staff(staff_id)) is None:
            return staff_id
        known = self._found.get((tenant, staff_id))
        if known is None or time.monotonic() - known[0] >= self._kept:
            known = self._found[tenant, staff_id] = (time.monotonic(), await _look_up(session, *named))
        if not known[1]:
            raise _unknown(*named)
        return known[1]


async def _look_up(session: EkbSession, kind: StaffKind, value: str) -> str:
    """Return the ID of a person, "" if there is no such active person."""
    try:
        match kind:
            case "email":
                people = await session.staff(emails=[value])
            case "phone":
                people = await session.staff(phones=[value])
            case "code":
                people = await session.staff(codes=[value])
    except EkbError as error:
        raise as_met_before(error) from None
    person = people[value]
    return "" if person is None else person.id or ""


def _unknown(kind: StaffKind, value: str) -> StaffNotFoundError:
    name = _NAMES[kind]
    hint = f"The {name} was looked up as {_masked(kind, value)}: check it, and that the person is active."
    return StaffNotFoundError(f"no active person has this {name}", status=200, endpoint=endpoints.STAFF.path, hint=hint)


def _masked(kind: StaffKind, value: str) -> str:
    """Return enough of an address or a number to recognise it: errors are printed and exported."""
    match kind:
        case "email":
            name, _, domain = value.rpartition("@")
            return f"{name[:1]}***@{domain}"
        case "phone":
            return f"***{value[-_SHOWN_DIGITS:]}"
    return value
