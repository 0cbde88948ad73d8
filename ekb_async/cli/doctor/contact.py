"""The first request, which shows how far this machine comes on its way to the vendor.

It carries neither keys nor token. It is made with aiohttp itself, since the errors of a session do not distinguish an
expired certificate from that of another host.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from ekb_async.cli.doctor.faults import Fault, Trip, fault_of, fault_of_status
from ekb_async.cli.doctor.findings import failed
from ekb_async.cli.doctor.limits import LIMITS
from ekb_async.cli.language import texts
from ekb_async.cli.progress import duration
from ekb_async.client.addresses import host_and_port
from ekb_async.client.connection_errors import Route
from ekb_async.protocol.clock import http_date
from ekb_async.protocol.refusals import refusal_in
from ekb_async.protocol.reply_text import declared_charset

_PATH = "/api/openapi/v2/location"


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """What the first request found; without a reply only the route and the fault."""

    route: Route
    fault: Fault | None = None
    seconds: float = 0.0
    """Time until the reply began."""
    clock_ahead: float | None = None
    """Seconds by which the vendor's clock is ahead of this machine's; None without a readable `Date`."""
    page: str = ""
    """Status and title of a web page that came in place of the vendor's JSON."""
    status: int = 0
    """The status of the reply; 0 without one."""


async def first_contact(base_url: str, options: Mapping[str, Any], timeout: float) -> Contact:
    """Send the first request with these options of the environment, and return what it found.

    It takes `timeout` seconds at most.
    """
    url = URL(base_url + _PATH).with_query(corpId="")
    route = Route(host_and_port(url), host_and_port(options.get("proxy")))
    trip = Trip(route, has_tls=url.scheme == "https", is_connected=False, timeout=timeout)
    found = await _request(url, options, trip)
    if found.fault is not None and found.fault.is_validity:
        # Nothing secret is sent, so the clock may be read from a host that is not trusted.
        unverified = await _request(url, {**options, "ssl": False}, trip)
        return msgspec.structs.replace(found, fault=_judged_by_clock(found.fault, unverified.clock_ahead))
    return found


def clock_error(ahead: float) -> str:
    """Return in words how far this machine's clock is off, given by how much the vendor's is ahead."""
    if ahead > 0:
        return texts("this machine's clock is {time} behind the vendor's", time=duration(ahead))
    return texts("this machine's clock is {time} ahead of the vendor's", time=duration(-ahead))


async def _request(url: URL, options: Mapping[str, Any], trip: Trip) -> Contact:
    async def note_connection(*_: object) -> None:
        nonlocal trip
        trip = trip._replace(is_connected=True)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(note_connection)
    unlimited = aiohttp.ClientTimeout(total=None)
    began = time.monotonic()
    try:
        async with (
            asyncio.timeout(trip.timeout),
            aiohttp.ClientSession(trace_configs=[trace], cookie_jar=aiohttp.DummyCookieJar()) as client,
            client.get(url, allow_redirects=False, timeout=unlimited, **options) as reply,
        ):
            arrived, seconds = time.time(), time.monotonic() - began
            body = await _beginning(reply.content)
    except (aiohttp.ClientError, OSError, UnicodeError) as error:
        return Contact(route=trip.route, fault=fault_of(error, trip))
    refusal = refusal_in(body, declared_charset(reply.headers.get("Content-Type", "")))
    date = http_date(reply.headers.get("Date", ""))
    return Contact(
        route=trip.route,
        fault=fault_of_status(reply.status, trip, is_json=refusal.is_json),
        seconds=seconds,
        # The header is truncated to whole seconds.
        clock_ahead=None if date is None else date + 0.5 - arrived,
        page=_title(reply.status, refusal.text) if refusal.is_page else "",
        status=reply.status,
    )


def _title(status: int, title: str) -> str:
    return title if title.startswith(str(status)) else f"{status} {title}".strip()


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    try:
        return await content.readexactly(LIMITS.page_bytes)
    except asyncio.IncompleteReadError as error:
        return error.partial


def _judged_by_clock(fault: Fault, ahead: float | None) -> Fault:
    """Return the fault of a certificate that is too old or too new, with the clock as its cause if that is off."""
    if ahead is None or abs(ahead) <= LIMITS.clock_seconds:
        return fault
    detail = texts("{fault}; but {clock}", fault=fault.finding.detail, clock=clock_error(ahead))
    advice = texts("Set this machine's clock; only then can the certificate be judged.")
    return fault._replace(finding=failed(detail, advice))
