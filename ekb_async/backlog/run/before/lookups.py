"""Errors of the free look-ups that come before a billed call."""

from __future__ import annotations

from ekb_async.aio.batch_search import may_be_one_keys_fault
from ekb_async.errors import ApiError, EkbError, ServerError, ThrottledError


def as_met_before(error: EkbError) -> EkbError:
    """Return the error of a look-up as that of the call that it came before, which was not sent.

    A refusal of what was looked up fails the row. A refusal of every look-up holds for every further call.
    """
    if may_be_one_keys_fault(error) and not error.of_request:
        return error
    twin = error.met_before_sending()
    twin.for_all |= isinstance(error, ApiError) and not isinstance(error, ThrottledError | ServerError)
    return twin
