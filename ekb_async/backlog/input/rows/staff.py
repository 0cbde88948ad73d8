"""People as users know them: by the vendor's ID, an e-mail address, a phone number, or the number of the employee.

A backlog stores an ID as it is, and the others as `email:…`, `phone:…` and `code:…`; a run looks up the ID.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, NamedTuple

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.errors import ConfigError

StaffKind = Literal["email", "phone", "code"]

_KINDS: tuple[StaffKind, ...] = ("email", "phone", "code")
_OTHER_NAMES: dict[str, StaffKind] = {
    "mail": "email",
    "e-mail": "email",
    "邮箱": "email",
    "电子邮箱": "email",
    "邮件": "email",
    "mobile": "phone",
    "手机": "phone",
    "手机号": "phone",
    "手机号码": "phone",
    "电话": "phone",
    "工号": "code",
    "员工号": "code",
    "员工编号": "code",
}
_PREFIXES = frozenset({*_KINDS, *_OTHER_NAMES})
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_PHONE = re.compile(r"[0-9]{5,20}")
_COUNTRY = "+86"
_BETWEEN_DIGITS = re.compile(r"[\s\-()\u2010-\u2015]+")
_SHORTENED = re.compile(r"[+-]?\d(?:[.,]\d+)?e\+\d+", re.ASCII | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class StaffReference(NamedTuple):
    """A person named by something else than the ID. The text of it is what the backlog stores."""

    kind: StaffKind
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


def parse_staff(staff_id: str) -> StaffReference | None:
    """Return how a stored staff ID names its person; None if it is the ID."""
    prefix, colon, value = staff_id.partition(":")
    if not colon or prefix not in _KINDS:
        return None
    return StaffReference(_KINDS[_KINDS.index(prefix)], value)


def staff_reference(text: str) -> str:
    """Return the form in which a backlog stores a person.

    The text is the ID, which stays as it is, an e-mail address, or `email:…`, `phone:…`, `code:…`, which also have the
    names 邮箱, 手机 and 工号. Raises `ConfigError` if it cannot be one of these.
    """
    text = text.strip().replace("：", ":", 1)
    prefix, colon, value = text.partition(":")
    if colon and (kind := _kind_of(prefix)):
        return stored_staff(kind, value)
    if "@" in text or "＠" in text:
        return stored_staff("email", text)
    if _CONTROL.search(text):
        raise ConfigError("the ID of a person has no control characters")
    if not text.isascii():
        raise ConfigError("this is no ID of a person; give corporation:staff, an e-mail address, phone:… or code:…")
    return text


def may_be_other_than_id(text: str) -> bool:
    """Return whether the text of a person may be something else than the ID; a fast look at every row of a manifest."""
    return not text.isascii() or text.partition(":")[0].lower() in _PREFIXES


def _kind_of(prefix: str) -> StaffKind | None:
    name = prefix.strip().lower()
    return _KINDS[_KINDS.index(name)] if name in _KINDS else _OTHER_NAMES.get(name)


def stored_staff(kind: StaffKind, text: str) -> str:
    """Return the form in which a backlog stores a person named by a text of this kind. Raises `ConfigError`."""
    text = text.strip()
    if len(text) > LIMITS.staff_characters_read:
        raise ConfigError(f"the value has more than {LIMITS.staff_characters_read} characters")
    return str(StaffReference(kind, _CHECKED[kind](text)))


def _email(text: str) -> str:
    address = unicodedata.normalize("NFKC", text).lower()
    if not _EMAIL.fullmatch(address) or _CONTROL.search(address):
        raise ConfigError("this is no e-mail address, such as name@company.cn")
    return address


def _phone(text: str) -> str:
    number = unicodedata.normalize("NFKC", text)
    _check_shortened(number)
    number = _BETWEEN_DIGITS.sub("", number).removeprefix(_COUNTRY).removeprefix("+")
    if not _PHONE.fullmatch(number):
        raise ConfigError("this is no phone number: 5 to 20 digits, with or without +86")
    return number


def _code(text: str) -> str:
    _check_shortened(text)
    if not text or len(text) > LIMITS.staff_code_characters or _CONTROL.search(text):
        raise ConfigError(
            f"this is no number of an employee: 1 to {LIMITS.staff_code_characters} characters in one line"
        )
    return text


def _check_shortened(text: str) -> None:
    if _SHORTENED.fullmatch(text.strip()):
        raise ConfigError(
            f"{text} is a number that a spreadsheet has shortened; "
            "format the column as text in the spreadsheet, and enter the number again"
        )


_CHECKED = {"email": _email, "phone": _phone, "code": _code}
