"""Injected faults on the way to the vendor and back.

A fault strikes the calls it names: each with a probability, or the next few. Either the vendor never receives the
request (nothing is billed), or the answer to a request that was carried out (and billed) is spoilt. A caller that pays
per call must tell the two apart.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from http import HTTPStatus
from typing import Literal, TypedDict, Unpack

import msgspec

from ekb_async.sandbox.vendor.exchange import JSON_TYPE, VendorReply
from ekb_async.sandbox.vendor.routes import CALL_NAMES

_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>gateway</body></html>"


class Strikes(TypedDict, total=False):
    """Which requests a fault strikes.

    Those of the interfaces `calls` (None = all): each with the probability `rate` (default 1.0), or with `times` the
    next so many.
    """

    calls: Iterable[str] | str | None
    rate: float
    times: int | None


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of fault, made by the class methods, which all take the arguments of `Strikes`.

    Raises `ValueError` for a rate outside 0 to 1, `times` below 1, or an interface that does not exist.
    """

    kind: Literal["answer", "delay", "reset", "cut_off"]
    carried_out: bool
    """Whether the vendor receives the request, so that it counts towards the rate and may be billed."""
    calls: frozenset[str] | None = None
    rate: float = 1.0
    times: int | None = None
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate must be from 0 to 1, not {self.rate!r}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be at least 1, not {self.times!r}")
        unknown = (self.calls or frozenset()) - CALL_NAMES
        if unknown:
            raise ValueError(f"calls must be among {', '.join(sorted(CALL_NAMES))}, not {', '.join(sorted(unknown))}")

    @classmethod
    def answer(
        cls,
        status: int,
        text: str = "",
        *,
        headers: dict[str, str] | None = None,
        carried_out: bool = False,
        **strikes: Unpack[Strikes],
    ) -> Fault:
        """Replace the vendor's answer by an error status with a JSON body that contains `text`."""
        body = msgspec.json.encode({"errorCode": status, "errorMessage": text})
        headers = {"Content-Type": JSON_TYPE, **(headers or {})}
        return _answer(strikes, carried_out=carried_out, status=status, body=body, headers=headers)

    @classmethod
    def gateway_page(cls, status: int = 502, *, carried_out: bool = False, **strikes: Unpack[Strikes]) -> Fault:
        """Replace the vendor's answer by a gateway's HTML page."""
        body = _PAGE.format(f"{status} {HTTPStatus(status).phrase}").encode()
        headers = {"Content-Type": "text/html"}
        return _answer(strikes, carried_out=carried_out, status=status, body=body, headers=headers)

    @classmethod
    def error_in_200(cls, text: str = "系统繁忙，请稍后再试", code: str = "500", **strikes: Unpack[Strikes]) -> Fault:
        """Answer with status 200 and an error code in place of the result; nothing is carried out."""
        return _answer(strikes, carried_out=False, body=msgspec.json.encode({"code": code, "message": text}))

    @classmethod
    def not_json(cls, **strikes: Unpack[Strikes]) -> Fault:
        """Carry out the request, and answer with status 200 and a body that is not JSON."""
        return _answer(strikes, carried_out=True, body=b"\x00\xff<<garbage>>")

    @classmethod
    def reset(cls, **strikes: Unpack[Strikes]) -> Fault:
        """Reset the connection before the vendor receives the request."""
        return cls(kind="reset", carried_out=False, **_fields(strikes))

    @classmethod
    def lost_answer(cls, **strikes: Unpack[Strikes]) -> Fault:
        """Carry out the request, then reset the connection: billed, and the answer is lost."""
        return cls(kind="reset", carried_out=True, **_fields(strikes))

    @classmethod
    def cut_off(cls, **strikes: Unpack[Strikes]) -> Fault:
        """Carry out the request, and close the connection after half of the body."""
        return cls(kind="cut_off", carried_out=True, **_fields(strikes))

    @classmethod
    def delay(cls, seconds: float, **strikes: Unpack[Strikes]) -> Fault:
        """Answer correctly, but this many seconds late."""
        return cls(kind="delay", carried_out=True, seconds=seconds, **_fields(strikes))

    def spoil(self, reply: VendorReply) -> VendorReply:
        """Return what the caller gets instead of `reply`; the same if the fault only affects the connection."""
        if self.kind != "answer":
            return reply
        return VendorReply(self.status, self.body, dict(self.headers), reply.call, reply.accepted)


class _StrikeFields(TypedDict):
    calls: frozenset[str] | None
    rate: float
    times: int | None


def _fields(strikes: Strikes) -> _StrikeFields:
    calls = strikes.get("calls")
    names = frozenset({calls} if isinstance(calls, str) else calls) if calls is not None else None
    return {"calls": names, "rate": strikes.get("rate", 1.0), "times": strikes.get("times")}


def _answer(
    strikes: Strikes, *, carried_out: bool, body: bytes, status: int = 200, headers: dict[str, str] | None = None
) -> Fault:
    headers = headers or {"Content-Type": JSON_TYPE}
    return Fault(kind="answer", carried_out=carried_out, status=status, body=body, headers=headers, **_fields(strikes))


def next_fault(faults: list[Fault], call: str, chance: random.Random) -> Fault | None:
    """Return the fault that strikes this request, if any. One with `times` is counted down in the list, up to its end.

    Probabilities add up: two faults of rate 0.1 strike one request in five, each of them one in ten.
    """
    drawn = chance.random()
    for index, fault in enumerate(faults):
        if fault.calls is not None and call not in fault.calls:
            continue
        if fault.times is not None:
            left = fault.times - 1
            faults[index : index + 1] = [msgspec.structs.replace(fault, times=left)] if left > 0 else []
            return fault
        if drawn < fault.rate:
            return fault
        drawn -= fault.rate
    return None
