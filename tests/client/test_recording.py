"""Any exchange becomes a line of a bundle without personal data and without secrets."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from urllib.parse import quote

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ekb_async import EkbConnectionError, ResponseError
from ekb_async.client.capture.bundle import Exchange
from ekb_async.client.capture.limits import CaptureLimits
from ekb_async.client.capture.recording import Observation, Recorder
from ekb_async.protocol.endpoints import DETAILS, OCR, Request, Upload, path_segment
from ekb_async.protocol.replies import Reply
from ekb_async.redaction.personal.recorded import SecretInTextError
from tests.support.personal import PERSONAL, TEXTS, VALUES, check_nothing_is_left

ONE = st.sampled_from(PERSONAL)
HEADERS = st.dictionaries(
    st.sampled_from(("Date", "Content-Type", "Retry-After", "X-Request-Id", "Set-Cookie", "Location", "Server")), ONE
)


def recorded(seen: Observation) -> str:
    """Return the line of an exchange, which can be read again."""
    line = Recorder("erp.mingjiao.example", CaptureLimits()).line(seen)
    msgspec.json.decode(line, type=Exchange)
    return line.decode()


def encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


@settings(max_examples=100, deadline=None)
@given(sent=VALUES, came=VALUES, name=ONE, headers=HEADERS, is_page=st.booleans())
def test_no_value_is_left_in_any_part(
    sent: object, came: object, name: str, headers: dict[str, str], *, is_page: bool
) -> None:
    """Paths, queries, bodies, headers, names of files and errors are masked."""
    path = DETAILS.path.format(path_segment(name))
    request = Request(DETAILS, path, encoded(sent), (("corpId", name), (name, "1")), Upload(name, name.encode()))
    seen = Observation.of(request, None, 1.0)
    page = f"<html><title>{name}</title>{came}</html>".encode()
    problem = ResponseError(f"the answer was cut off: {name}")
    seen.reply = Reply(200, headers, page if is_page else encoded(came), problem)
    check_nothing_is_left(recorded(seen))
    seen = Observation.of(Request(OCR, f"/api/{quote(name)}/{name}"), None, 1.0)
    seen.error = EkbConnectionError(f"the connection to {name} failed")
    check_nothing_is_left(recorded(seen))


@settings(max_examples=60, deadline=None)
@given(ONE, TEXTS, st.sampled_from((200, 403)))
def test_no_value_is_left_of_a_file(name: str, content: str, status: int) -> None:
    """The URL of a file, and the text that came in its place, are masked."""
    url = f"https://bucket-{quote(name)}.example/{quote(name)}/{name}.pdf?name={quote(name)}&Expires=1700000000"
    seen = Observation(1.0, url=url)
    body = f"<Error><Code>{name}</Code>{content}</Error>".encode()
    seen.note_piece(body)
    seen.reply = Reply(status, {}, b"" if status == 200 else body)
    check_nothing_is_left(recorded(seen))


SPELLED: tuple[Callable[[str], str], ...] = (
    str,
    quote,
    lambda secret: quote(quote(secret, safe=""), safe=""),
    lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    lambda secret: "".join(f"\\u{ord(each):04X}" for each in secret),
    lambda secret: "".join(f"&#x{ord(each):x};" for each in secret),
    lambda secret: secret.encode().hex(),
    str.upper,
)


FORMS = ("{}", '{{"message": "{}"}}', '{{"{}": "{}"}}', "<p>{}</p>", "https://f.example/a?Signature={}", '{{"x": ["{}')


@settings(max_examples=150, deadline=None)
@given(
    st.text(string.ascii_letters + string.digits + "/:+=%-_.~", min_size=6, max_size=40),
    st.sampled_from(SPELLED),
    st.sampled_from(FORMS),
)
def test_a_token_is_in_no_line(token: str, spell: Callable[[str], str], form: str) -> None:
    """A token that a reply or an error quotes is masked, or the exchange is refused."""
    spelled = spell(token)
    seen = Observation.of(Request(OCR, OCR.path, encoded({"fileUrl": form.format(spelled, spelled)})), token, 1.0)
    seen.reply = Reply(500, {"Content-Type": spelled}, form.format(spelled, spelled).encode())
    seen.error = ResponseError(f"it was {spelled}")
    try:
        line = recorded(seen)
    except SecretInTextError:
        return
    for each in (token, spelled):
        assert each.lower() not in line.lower()
