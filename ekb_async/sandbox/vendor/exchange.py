"""The input and output of the sandbox's rules, without any I/O: requests, replies and refusals.

The vendor documents the status and the text of an error, but not the form of its body; the sandbox answers
`{"errorCode": …, "errorMessage": …}`. A batch that is too large is refused in its own way, by a bare text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

import msgspec

MAX_BATCH = 100
"""The most IDs, codes or items of a page in one request."""
JSON_TYPE = "application/json; charset=utf-8"


class VendorRequest(msgspec.Struct, frozen=True):
    """One request: `path` is still percent-encoded, `upload` is the form-data `(name, file)` of an upload."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes = b""
    upload: tuple[str, bytes] | None = None


class VendorReply(msgspec.Struct):
    """One answer of interface `call`; `accepted` is True if it passed the checks of token, permission and rate."""

    status: int
    body: bytes
    headers: dict[str, str]
    call: str = ""
    accepted: bool = True


class RefusedError(Exception):
    """Raised when a rule of the vendor refuses the request, with the status and text of the answer.

    With `bare`, the body is the text alone instead of JSON.
    """

    def __init__(self, status: int, text: str, *, headers: dict[str, str] | None = None, bare: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}
        self.bare = bare

    def reply(self, call: str, *, accepted: bool) -> VendorReply:
        """Return the answer that reports this refusal."""
        if self.bare:
            reply = VendorReply(self.status, self.text.encode(), {"Content-Type": "text/plain; charset=utf-8"})
        else:
            reply = json_reply({"errorCode": self.status, "errorMessage": self.text}, self.status)
        reply.headers.update(self.headers)
        reply.call = call
        reply.accepted = accepted
        return reply


def json_reply(content: Any, status: int = 200) -> VendorReply:
    """Return an answer with a JSON body."""
    return VendorReply(status, msgspec.json.encode(content), {"Content-Type": JSON_TYPE})


def json_body(request: VendorRequest) -> Any:
    """Return the decoded body. Raise the vendor's 412 if it is not JSON."""
    try:
        return msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise wrong_parameters() from None


def json_object(request: VendorRequest) -> dict[str, Any]:
    """Return the decoded body. Raise the vendor's 412 if it is not a JSON object."""
    body = json_body(request)
    if not isinstance(body, dict):
        raise wrong_parameters()
    return body


def text_field(body: Mapping[str, Any], name: str) -> str:
    """Return a required parameter. Raise the vendor's 412 if it is not a text, or empty."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise wrong_parameters()
    return value


def text_list(body: Mapping[str, Any], name: str) -> list[str]:
    """Return a required parameter. Raise the vendor's 412 if it is not an array of texts, or one of them is empty."""
    values = body.get(name)
    if not isinstance(values, list) or not values or not all(isinstance(value, str) and value for value in values):
        raise wrong_parameters()
    return values


def wrong_parameters() -> RefusedError:
    """Return the vendor's refusal of a required parameter that is missing or of the wrong type."""
    return RefusedError(412, "JSON请求参数不正确")


def check_batch(values: Sized) -> None:
    """Raise the vendor's refusal of more than 100 values: a text with status 200, whose wording is not documented."""
    if len(values) > MAX_BATCH:
        raise RefusedError(200, f"参数个数超过限制，单次最多支持{MAX_BATCH}个", bare=True)
