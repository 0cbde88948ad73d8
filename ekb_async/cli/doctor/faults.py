"""What a failure of the first request means: whose fault it is, and what to do.

A fault belongs to one check: the proxy, the address, or the certificate.
"""

from __future__ import annotations

import socket
import ssl
from typing import NamedTuple

import aiohttp

from ekb_async.cli.doctor.findings import Finding, failed
from ekb_async.cli.language import texts
from ekb_async.cli.runner import ExitStatus, message_of
from ekb_async.client.connection_errors import PROXY_LOGIN_REQUIRED, Route, proxy_login_error, translated
from ekb_async.errors import EkbError, ProxyError, ProxySettingError

_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED = 9, 10, 18
_OTHER_HOST = (62, 64)
_UNKNOWN_AUTHORITY = (2, 19, 20, 21)
"""Results of OpenSSL's verification, as in `SSLCertVerificationError.verify_code`."""
_NOT_FORWARDED = (403, 502, 503, 504)
"""Statuses with which a proxy answers a request that it does not forward."""


_VENDOR_DOMAINS = (".ekuaibao.com", ".hosecloud.com")


class Trip(NamedTuple):
    """The first request, as far as it came."""

    route: Route
    has_tls: bool
    is_connected: bool
    """Whether the connection, with its tunnel and TLS, was open."""
    timeout: float


class Fault(NamedTuple):
    """A finding, and the check that it belongs to."""

    check: str
    finding: Finding
    is_validity: bool = False
    """Whether a certificate is too old or too new, of which this machine's clock may be the cause."""


def fault_of(error: Exception, trip: Trip) -> Fault:
    """Return the fault that an exception of aiohttp shows."""
    known = translated(error, trip.route, "", sent=trip.is_connected)
    is_proxy_silent = isinstance(error, TimeoutError) and not trip.is_connected and trip.route.proxy
    if isinstance(known, ProxyError) or is_proxy_silent:
        return Fault("proxy", _of_proxy(known, trip.route))
    if isinstance(error, UnicodeError) and trip.route.proxy:
        # The host's own name was checked with the settings.
        advice = texts("Correct the host of the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY.")
        what = texts("no host can be called {name}", name=trip.route.proxy)
        return Fault("proxy", failed(what, advice, ExitStatus.USAGE))
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _of_certificate(error.certificate_error, trip.route.host)
    if isinstance(error, aiohttp.ClientSSLError):
        advice = texts("Check scheme and port of EKB_BASE_URL: this port speaks no TLS, or only an old version of it.")
        return Fault("certificate", failed(message_of(known), advice))
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Fault("address", _of_name(error, trip.route.host))
    return Fault("address", _of_connection(error, known, trip))


def fault_of_status(status: int, trip: Trip, *, is_json: bool) -> Fault | None:
    """Return the fault of a proxy that answered in place of the host, None if the host answered."""
    route = trip.route
    if status == PROXY_LOGIN_REQUIRED:
        return Fault("proxy", _of_proxy(proxy_login_error(route, ""), route))
    # In a tunnel, which TLS needs, the proxy cannot answer.
    if route.proxy and not trip.has_tls and status in _NOT_FORWARDED and not is_json:
        refusal = ProxyError(f"the proxy does not connect to {route.host}: status {status} from {route.proxy}")
        return Fault("proxy", _of_proxy(refusal, route))
    return None


def _of_proxy(error: EkbError, route: Route) -> Finding:
    if isinstance(error, ProxySettingError):
        advice = texts("Correct the host, user and password of the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY.")
        return failed(message_of(error), advice, ExitStatus.USAGE)
    advice = texts(
        "Check EKB_BASE_URL, and that the proxy runs and may connect to {host}; or add this host to NO_PROXY.",
        host=route.host,
    )
    return failed(message_of(error), advice)


def _of_certificate(reason: Exception, host: str) -> Fault:
    code = reason.verify_code if isinstance(reason, ssl.SSLCertVerificationError) else 0
    if code in {_EXPIRED, _NOT_YET_VALID}:
        what = texts("the certificate of {host} has expired", host=host)
        if code == _NOT_YET_VALID:
            what = texts("the certificate of {host} is not valid yet", host=host)
        advice = texts("Its host must renew it: report it to the vendor, or to the operator of the gateway in front.")
        return Fault("certificate", failed(what, advice), is_validity=True)
    if code in _OTHER_HOST:
        what = texts("the certificate of {host} was issued for another host", host=host)
        advice = texts("Use the host name that the certificate was issued for in EKB_BASE_URL.")
        return Fault("certificate", failed(what, advice))
    if code == _SELF_SIGNED:
        what = texts("the certificate of {host} is self-signed", host=host)
    elif code in _UNKNOWN_AUTHORITY:
        what = texts("the certificate of {host} comes from an unknown authority", host=host)
    else:
        detail = texts.rendered(getattr(reason, "verify_message", type(reason).__name__))
        what = texts("the certificate of {host} is not trusted: {reason}", host=host, reason=detail)
    advice = texts(
        "If your enterprise's gateway decrypts TLS, name the file of its authority in REQUESTS_CA_BUNDLE; otherwise do "
        "not trust this network."
    )
    return Fault("certificate", failed(what, advice))


def _of_name(error: aiohttp.ClientConnectorDNSError, host: str) -> Finding:
    # EAI_AGAIN: the name server did not answer, so the name may be right.
    if error.os_error.errno == socket.EAI_AGAIN:
        what = texts("no name server answers for {host}", host=host)
        return failed(what, texts("Check the network and the name servers of this machine."))
    name = host.rpartition(":")[0]
    advice = texts(
        "Check the spelling in EKB_BASE_URL. If it is right, check the name servers of this machine; if your network "
        "has a proxy, set HTTPS_PROXY."
    )
    is_known = name.endswith(_VENDOR_DOMAINS)
    status = ExitStatus.SOME_FAILED if is_known else ExitStatus.USAGE
    return failed(texts("the name {name} cannot be resolved on this machine", name=name), advice, status)


def _of_connection(error: Exception, known: EkbError, trip: Trip) -> Finding:
    host = trip.route.host
    if trip.is_connected:
        what = texts("{host} accepted the connection and did not answer in HTTP", host=host)
        if isinstance(error, TimeoutError):
            what = texts(
                "{host} accepted the connection and gave no complete answer in {seconds:g} s",
                host=host,
                seconds=trip.timeout,
            )
        advice = texts("Check scheme and port of EKB_BASE_URL, and the gateways between this machine and the vendor.")
        return failed(what, advice)
    advice = texts("Check host and port of EKB_BASE_URL, and that the firewall lets this machine connect to them.")
    if isinstance(error, TimeoutError):
        return failed(texts("no connection to {host} in {seconds:g} s", host=host, seconds=trip.timeout), advice)
    return failed(message_of(known), advice)
