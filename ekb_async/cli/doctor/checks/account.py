"""The checks of the account: the settings of the environment, the platform, and the keys or the token."""

from __future__ import annotations

import os

from yarl import URL

from ekb_async.cli.doctor.contact import Contact
from ekb_async.cli.doctor.examination import Examination, FirstCall
from ekb_async.cli.doctor.findings import Finding, State, failed, failure, ok, skipped
from ekb_async.cli.runner import ExitStatus, hint_of, message_of
from ekb_async.errors import (
    ApiError,
    AuthError,
    ConfigError,
    EkbConnectionError,
    EkbError,
    EkbTimeoutError,
    PermissionDeniedError,
    ServerError,
    ThrottledError,
)
from ekb_async.protocol.endpoints import TOKEN

_PASSING = (EkbConnectionError, EkbTimeoutError, ServerError, ThrottledError)
"""Errors of the network and of the vendor's operation, which no change of settings repairs."""
_CHECK_BASE_URL = "Set EKB_BASE_URL to the address of your enterprise's platform, without a path."


async def settings(examination: Examination) -> Finding:
    """Check that a session can be made from the environment."""
    try:
        session = examination.session
    except ConfigError as error:
        # In the environment, the argument has another name.
        what = str(error).replace("base_url", "EKB_BASE_URL")
        return failed(what, "Correct the environment; `ekb --help` lists the variables.", ExitStatus.USAGE)
    for name in ("EKB_APP_KEY", "EKB_APP_SECURITY", "EKB_ACCESS_TOKEN"):
        value = os.environ.get(name, "")
        if value.strip("\"'“”‘’ \t\r\n\ufeff") != value:
            advice = "Remove it; in a .env file, write the value without quotation marks and blanks."
            return failed(f"{name} begins or ends with a blank or a quotation mark", advice, ExitStatus.USAGE)
    return ok(f"{session.base_url} with {'app key and secret' if session.has_keys else 'an access token'}")


async def platform(examination: Examination) -> Finding:
    """Check that the address belongs to the vendor, and to the platform of this enterprise."""
    given = examination.options.corporation
    found = await _compared(examination, given) if given else None
    if found is not None and found.state is State.FAILED:
        # The keys are not sent to another platform.
        return found
    call = await examination.first_call()
    if call.error is not None and not call.is_token_issued:
        fault = _not_the_vendor(call.error, await examination.contact())
        if fault is not None:
            return fault
    if found is not None:
        return found
    if not call.corporation:
        return skipped("the corporation ID is not known; give it with --corporation-id")
    return await _compared(examination, call.corporation)


async def keys(examination: Examination) -> Finding:
    """Check that the vendor issues a token for the keys, and that it accepts the token."""
    call = await examination.first_call()
    given = examination.options.corporation
    if isinstance(call.error, AuthError):
        return _refused(call, call.error, has_keys=examination.session.has_keys)
    if isinstance(call.error, PermissionDeniedError) and call.error.endpoint == TOKEN.path:
        return failure("no token is issued for these keys", call.error)
    if given and call.corporation and given != call.corporation:
        advice = "Correct --corporation-id, or use the keys of that corporation."
        return failed(f"the keys belong to corporation {call.corporation}, not to {given}", advice, ExitStatus.USAGE)
    if call.error is not None and not call.is_token_issued:
        return skipped(f"nothing shows whether the access token is accepted: {message_of(call.error)}")
    if call.is_token_issued:
        return ok("a token was issued" if call.error is not None else "a token was issued and accepted")
    return ok("the access token is accepted")


def _refused(call: FirstCall, error: AuthError, *, has_keys: bool) -> Finding:
    if not has_keys:
        what = "the access token is not accepted"
        advice = "Set a new EKB_ACCESS_TOKEN of this platform, or EKB_APP_KEY and EKB_APP_SECURITY, which renew it."
    elif call.is_token_issued:
        what = "a token was issued, but is not accepted"
        advice = "Run `ekb doctor` again; if this remains, give this line to the vendor's support."
    else:
        what = "app key and secret are refused"
        advice = "Check EKB_APP_KEY and EKB_APP_SECURITY, and that EKB_BASE_URL is the platform that issued them."
    return failed(f"{what}: {message_of(error)}", advice, ExitStatus.HOPELESS)


def _not_the_vendor(error: EkbError, contact: Contact) -> Finding | None:
    """Return the finding about a first call that the vendor did not answer; None if its error is one of the keys."""
    page = contact.page
    if isinstance(error, AuthError | PermissionDeniedError) and not page:
        return None
    if isinstance(error, ApiError):
        if error.is_absent and not page and contact.status not in {404, 405, 410}:
            # The vendor is there, and only this call is not.
            return None
        answer = f"status {error.status}: {message_of(error)}"
    else:
        answer = message_of(error)
    what = f"a web page came in place of the vendor's answer: {page}" if page else f"no result: {answer}"
    if isinstance(error, _PASSING):
        return failed(what, hint_of(error))
    return failed(what, _CHECK_BASE_URL, ExitStatus.USAGE)


async def _compared(examination: Examination, corporation: str) -> Finding:
    """Compare the address with that of the corporation's platform, which the vendor returns without a token."""
    session = examination.session
    try:
        located = await session.platform_of(corporation)
    except EkbError as error:
        return skipped(f"the vendor does not return the address of corporation {corporation}: {message_of(error)}")
    if URL(located) == URL(session.base_url):
        return ok(f"that of corporation {corporation}")
    detail = f"corporation {corporation} is on {located}, not on {session.base_url}"
    return failed(detail, f"Set EKB_BASE_URL={located}", ExitStatus.USAGE)
