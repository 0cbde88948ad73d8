"""The checks of the enterprise: its licences for OCR and the open interface, and a staff ID."""

from __future__ import annotations

import math
import re

from ekb_async import Licence
from ekb_async.cli.doctor.examination import Examination
from ekb_async.cli.doctor.findings import Finding, failed, failure, ok, skipped, warning
from ekb_async.cli.doctor.limits import LIMITS
from ekb_async.cli.language import texts
from ekb_async.cli.runner import ExitStatus, hint_of, message_of
from ekb_async.errors import ApiError, EkbError, PermissionDeniedError

_OCR = "110407"
_INTERFACE = "219902"
_IN_FORCE = "using"
"""The one state of a licence that the vendor's pages name."""
_DAY = 86_400
_THIS_INTERFACE = re.compile(r"不(?:允许|能|可).{0,6}接口")
"""A refusal of one interface, which says nothing about the others."""


async def interface_licence(examination: Examination) -> Finding:
    """Check the licence of the open interface, and its end."""
    if (error := (await examination.first_call()).error) is not None:
        return _unreadable(error)
    return await _licence(examination, _INTERFACE, "开放接口")


async def ocr_licence(examination: Examination) -> Finding:
    """Check the licence of OCR, and its end."""
    if (await examination.first_call()).error is not None:
        return skipped(texts("the list of licences cannot be read"))
    return await _licence(examination, _OCR, "OCR智能票据识别")


async def staff(examination: Examination) -> Finding:
    """Check that the staff ID exists and is active."""
    staff_id = examination.options.staff_id
    if not staff_id:
        return skipped(texts("no --staff-id is given"))
    try:
        person = (await examination.session.staff(ids=[staff_id])).get(staff_id)
    except EkbError as error:
        return failure(texts("staff cannot be looked up"), error)
    advice = texts("Use the ID of an active staff member, corporation:staff; `EkbSession.staff(emails=[…])` finds it.")
    if person is None:
        what = texts("the vendor knows no active staff member {staff_id}", staff_id=staff_id)
        return failed(what, advice, ExitStatus.USAGE)
    title = texts("{name} ({staff_id})", name=person.name or texts("a person"), staff_id=staff_id)
    if person.is_active is False:
        return failed(texts("{person} is not active", person=title), advice, ExitStatus.USAGE)
    return ok(texts("{person} is active", person=title))


async def _licence(examination: Examination, code: str, term: str) -> Finding:
    call, now = await examination.first_call(), await examination.vendor_time()
    latest = max((licence for licence in call.licences if licence.code == code), key=_end, default=None)
    title = texts("{term} ({code})", term=term, code=code)
    if latest is None:
        return failed(texts("{licence} is not among the licences", licence=title), _renew(), ExitStatus.HOPELESS)
    days = (_end(latest) - now) / _DAY
    end = f"{latest.expires_at:%Y-%m-%d %H:%M}" if latest.expires_at else ""
    if days <= 0:
        what = texts("{licence} was valid until {end} UTC+8", licence=title, end=end)
        return failed(what, _renew(), ExitStatus.HOPELESS)
    valid = texts("{licence} is valid without an end", licence=title)
    if end:
        valid = texts("{licence} is valid until {end} UTC+8", licence=title, end=end)
    if latest.state != _IN_FORCE:
        what = texts("{valid}, but in the state {state}", valid=valid, state=latest.state)
        return warning(what, texts("Ask the vendor whether it is in force."))
    if days <= LIMITS.licence_days:
        what = texts(
            "{licence} ends within {count} day: it is valid until {end} UTC+8",
            "{licence} ends within {count} days: it is valid until {end} UTC+8",
            licence=title,
            count=math.ceil(days),
            end=end,
        )
        return warning(what, texts("Have the licence renewed by the vendor before then."))
    return ok(valid)


def _renew() -> str:
    return texts("Have the licence renewed by the vendor: calls that need it are refused without it.")


def _end(licence: Licence) -> float:
    return math.inf if licence.expires_at is None else licence.expires_at.timestamp()


def _unreadable(error: EkbError) -> Finding:
    if isinstance(error, ApiError) and error.is_absent:
        return skipped(texts("this deployment has no list of licences"))
    unreadable = texts("the list of licences cannot be read")
    if isinstance(error, PermissionDeniedError) and _THIS_INTERFACE.search(error.message):
        what = texts("{problem}: {reason}", problem=unreadable, reason=message_of(error))
        return warning(what, hint_of(error))
    return failure(unreadable, error)
