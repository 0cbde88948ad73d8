"""How a person is named on the command line."""

from __future__ import annotations

import re

from ekb_async.backlog.input.rows.staff import parse_staff, staff_reference
from ekb_async.cli.output import utf8_argument
from ekb_async.errors import ConfigError
from ekb_async.redaction.masking import redact

_ID = re.compile(r"[^\s:]+:[^\s:]+", re.ASCII)


def person_argument(text: str) -> str:
    """Return a person in the form in which a backlog stores it, "" for none.

    Raises `ConfigError` unless it is an ID, an e-mail address, a phone number or the number of an employee.
    """
    text = utf8_argument(text).strip()
    if not text:
        return ""
    person = staff_reference(text)
    if parse_staff(person) is None and not _ID.fullmatch(person):
        raise ConfigError(
            f"{redact(text)!r} names no person: give the ID corporation:staff, an e-mail address, phone:NUMBER, or"
            " code:NUMBER with the number of the employee"
        )
    return person


def staff_id_argument(text: str) -> str:
    """Return the ID of a person. Raises `ConfigError` for a person named otherwise."""
    staff_id = utf8_argument(text).strip()
    if not _ID.fullmatch(staff_id) or parse_staff(staff_id) is not None:
        raise ConfigError(f"{redact(text)!r} is no ID of a person, which has the form corporation:staff")
    return staff_id
