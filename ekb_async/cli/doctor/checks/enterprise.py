"""The checks of the enterprise: its licences for OCR and the open interface, and a staff ID."""

from __future__ import annotations

import math
import re

from ekb_async import Licence
from ekb_async.cli.doctor.examination import Examination
from ekb_async.cli.doctor.findings import Finding, failed, failure, ok, skipped, warning
from ekb_async.cli.doctor.limits import LIMITS
from ekb_async.cli.output import counted
from ekb_async.cli.runner import ExitStatus, message_of
from ekb_async.errors import ApiError, EkbError, PermissionDeniedError

_OCR = "110407"
_INTERFACE = "219902"
_IN_FORCE = "using"
"""The one state of a licence that the vendor's pages name."""
_DAY = 86_400
_UNREADABLE = "the list of licences cannot be read"
_THIS_INTERFACE = re.compile(r"不(?:允许|能|可).{0,6}接口")
"""A refusal of one interface, which says nothing about the others."""
_RENEW_SOON = "Have the licence renewed by the vendor before then."
_RENEW = "Have the licence renewed by the vendor: calls that need it are refused without it."


async def interface_licence(examination: Examination) -> Finding:
    """Check the licence of the open interface, and its end."""
    if (error := (await examination.first_call()).error) is not None:
        return _unreadable(error)
    return await _licence(examination, _INTERFACE, "开放接口")


async def ocr_licence(examination: Examination) -> Finding:
    """Check the licence of OCR, and its end."""
    if (await examination.first_call()).error is not None:
        return skipped(_UNREADABLE)
    return await _licence(examination, _OCR, "OCR智能票据识别")


async def staff(examination: Examination) -> Finding:
    """Check that the staff ID exists and is active."""
    staff_id = examination.options.staff_id
    if not staff_id:
        return skipped("no --staff-id is given")
    try:
        person = (await examination.session.staff(ids=[staff_id])).get(staff_id)
    except EkbError as error:
        return failure("staff cannot be looked up", error)
    advice = "Use the ID of an active staff member, corporation:staff; `EkbSession.staff(emails=[…])` finds it."
    if person is None:
        return failed(f"the vendor knows no active staff member {staff_id}", advice, ExitStatus.USAGE)
    title = f"{person.name or 'a person'} ({staff_id})"
    if person.is_active is False:
        return failed(f"{title} is not active", advice, ExitStatus.USAGE)
    return ok(f"{title} is active")


async def _licence(examination: Examination, code: str, term: str) -> Finding:
    call, now = await examination.first_call(), await examination.vendor_time()
    latest = max((licence for licence in call.licences if licence.code == code), key=_end, default=None)
    title = f"{term} ({code})"
    if latest is None:
        return failed(f"{title} is not among the licences", _RENEW, ExitStatus.HOPELESS)
    days = (_end(latest) - now) / _DAY
    end = "without an end" if latest.expires_at is None else f"until {latest.expires_at:%Y-%m-%d %H:%M} UTC+8"
    if days <= 0:
        return failed(f"{title} was valid {end}", _RENEW, ExitStatus.HOPELESS)
    if latest.state != _IN_FORCE:
        return warning(
            f"{title} is valid {end}, but in the state {latest.state}", "Ask the vendor whether it is in force."
        )
    if days <= LIMITS.licence_days:
        return warning(f"{title} ends within {counted(math.ceil(days), 'day')}: it is valid {end}", _RENEW_SOON)
    return ok(f"{title} is valid {end}")


def _end(licence: Licence) -> float:
    return math.inf if licence.expires_at is None else licence.expires_at.timestamp()


def _unreadable(error: EkbError) -> Finding:
    if isinstance(error, ApiError) and error.is_absent:
        return skipped("this deployment has no list of licences")
    if isinstance(error, PermissionDeniedError) and _THIS_INTERFACE.search(error.message):
        return warning(f"{_UNREADABLE}: {message_of(error)}", error.hint)
    return failure(_UNREADABLE, error)
