"""The checks of the account: the settings of the environment, the platform, and the keys or the token."""

from __future__ import annotations

import os

from yarl import URL

from ekb_async.cli.doctor.contact import Contact
from ekb_async.cli.doctor.examination import Examination, FirstCall
from ekb_async.cli.doctor.findings import Finding, State, failed, failure, ok, skipped
from ekb_async.cli.language import texts
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


async def settings(examination: Examination) -> Finding:
    """Check that a session can be made from the environment."""
    try:
        session = examination.session
    except ConfigError as error:
        # In the environment, the argument has another name.
        what = texts.rendered(str(error)).replace("base_url", "EKB_BASE_URL")
        return failed(what, texts("Correct the environment; `ekb --help` lists the variables."), ExitStatus.USAGE)
    for name in ("EKB_APP_KEY", "EKB_APP_SECURITY", "EKB_ACCESS_TOKEN"):
        value = os.environ.get(name, "")
        if value.strip("\"'“”‘’ \t\r\n\ufeff") != value:
            what = texts("{name} begins or ends with a blank or a quotation mark", name=name)
            advice = texts("Remove it; in a .env file, write the value without quotation marks and blanks.")
            return failed(what, advice, ExitStatus.USAGE)
    if session.has_keys:
        return ok(texts("{address} with app key and secret", address=session.base_url))
    return ok(texts("{address} with an access token", address=session.base_url))


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
        return skipped(texts("the corporation ID is not known; give it with --corporation-id"))
    return await _compared(examination, call.corporation)


async def keys(examination: Examination) -> Finding:
    """Check that the vendor issues a token for the keys, and that it accepts the token."""
    call = await examination.first_call()
    given = examination.options.corporation
    if isinstance(call.error, AuthError):
        return _refused(call, call.error, has_keys=examination.session.has_keys)
    if isinstance(call.error, PermissionDeniedError) and call.error.endpoint == TOKEN.path:
        return failure(texts("no token is issued for these keys"), call.error)
    if given and call.corporation and given != call.corporation:
        what = texts("the keys belong to corporation {own}, not to {given}", own=call.corporation, given=given)
        advice = texts("Correct --corporation-id, or use the keys of that corporation.")
        return failed(what, advice, ExitStatus.USAGE)
    if call.error is not None and not call.is_token_issued:
        reason = message_of(call.error)
        return skipped(texts("nothing shows whether the access token is accepted: {reason}", reason=reason))
    if not call.is_token_issued:
        return ok(texts("the access token is accepted"))
    return ok(texts("a token was issued") if call.error is not None else texts("a token was issued and accepted"))


def _refused(call: FirstCall, error: AuthError, *, has_keys: bool) -> Finding:
    reason = message_of(error)
    if not has_keys:
        what = texts("the access token is not accepted: {reason}", reason=reason)
        advice = texts(
            "Set a new EKB_ACCESS_TOKEN of this platform, or EKB_APP_KEY and EKB_APP_SECURITY, which renew it."
        )
    elif call.is_token_issued:
        what = texts("a token was issued, but is not accepted: {reason}", reason=reason)
        advice = texts("Run `ekb doctor` again; if this remains, give this line to the vendor's support.")
    else:
        what = texts("app key and secret are refused: {reason}", reason=reason)
        advice = texts(
            "Check EKB_APP_KEY and EKB_APP_SECURITY, and that EKB_BASE_URL is the platform that issued them."
        )
    return failed(what, advice, ExitStatus.HOPELESS)


def _not_the_vendor(error: EkbError, contact: Contact) -> Finding | None:
    """Return the finding about a first call that the vendor did not answer; None if its error is one of the keys."""
    page = contact.page
    if isinstance(error, AuthError | PermissionDeniedError) and not page:
        return None
    if isinstance(error, ApiError):
        if error.is_absent and not page and contact.status not in {404, 405, 410}:
            # The vendor is there, and only this call is not.
            return None
        what = texts("no result: status {status}: {message}", status=error.status, message=message_of(error))
    else:
        what = texts("no result: {message}", message=message_of(error))
    if page:
        what = texts("a web page came in place of the vendor's answer: {page}", page=page)
    if isinstance(error, _PASSING):
        return failed(what, hint_of(error))
    advice = texts("Set EKB_BASE_URL to the address of your enterprise's platform, without a path.")
    return failed(what, advice, ExitStatus.USAGE)


async def _compared(examination: Examination, corporation: str) -> Finding:
    """Compare the address with that of the corporation's platform, which the vendor returns without a token."""
    session = examination.session
    try:
        located = await session.platform_of(corporation)
    except EkbError as error:
        return skipped(
            texts(
                "the vendor does not return the address of corporation {corporation}: {reason}",
                corporation=corporation,
                reason=message_of(error),
            )
        )
    if URL(located) == URL(session.base_url):
        return ok(texts("that of corporation {corporation}", corporation=corporation))
    detail = texts(
        "corporation {corporation} is on {right}, not on {wrong}",
        corporation=corporation,
        right=located,
        wrong=session.base_url,
    )
    return failed(detail, texts("Set EKB_BASE_URL={address}", address=located), ExitStatus.USAGE)
