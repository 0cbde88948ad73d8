"""What goes in and out of the sandbox's rules: requests, replies and refusals, without any I/O.

The vendor publishes the status and the text of an error, not the shape of its body; the sandbox answers
`{"errorCode": …, "errorMessage": …}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

JSON_TYPE = "application/json; charset=utf-8"


class VendorRequest(msgspec.Struct, frozen=True):
    """One request as it arrives: `path` still percent-encoded, `upload` the form-data `(name, file)` of an upload."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes = b""
    upload: tuple[str, bytes] | None = None


class VendorReply(msgspec.Struct):
    """One answer; `call` names the interface and `accepted` tells whether token, permission and rate let it pass."""

    status: int
    body: bytes
    headers: dict[str, str]
    call: str = ""
    accepted: bool = True


class RefusedError(Exception):
    """A rule of the vendor refuses the request with this status and text."""

    def __init__(self, status: int, text: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}

    def reply(self, call: str, *, accepted: bool) -> VendorReply:
        """The answer that tells the caller of this refusal."""
        reply = json_reply({"errorCode": self.status, "errorMessage": self.text}, self.status)
        reply.headers.update(self.headers)
        reply.call = call
        reply.accepted = accepted
        return reply


def json_reply(content: Any, status: int = 200) -> VendorReply:
    """An answer with a JSON body."""
    return VendorReply(status, msgspec.json.encode(content), {"Content-Type": JSON_TYPE})


def json_body(request: VendorRequest) -> Any:
    """The decoded body; raises the vendor's 412 when it is no JSON."""
    try:
        return msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise wrong_parameters() from None


def json_object(request: VendorRequest) -> dict[str, Any]:
    """The decoded body, which must be a JSON object."""
    body = json_body(request)
    if not isinstance(body, dict):
        raise wrong_parameters()
    return body


def text_field(body: Mapping[str, Any], name: str) -> str:
    """A required parameter that must be a text that is not empty."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise wrong_parameters()
    return value


def text_list(body: Mapping[str, Any], name: str) -> list[str]:
    """A required parameter that must be an array of texts, none of them empty."""
    values = body.get(name)
    if not isinstance(values, list) or not values or not all(isinstance(value, str) and value for value in values):
        raise wrong_parameters()
    return values


def wrong_parameters() -> RefusedError:
    """The vendor's answer to a required parameter that is missing or of the wrong type."""
    return RefusedError(412, "JSON请求参数不正确")
