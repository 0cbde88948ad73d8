"""What the failure of a stored call means: for every class of error, and every way in which it can be met."""

from __future__ import annotations

import inspect
import itertools

import pytest

from ekb_async import errors
from ekb_async.backlog.run.failures import Fault, Retries, fault_of
from ekb_async.errors import EkbError
from ekb_async.protocol import endpoints

EVERY_CALL, UNSENT, SERVER, UNANSWERED, _, ROW = Fault

# By class: the fault of a preliminary call at an interface of files, and at any other; then the fault of the call
# itself: answered or not sent, without an answer, and without an answer to a billed call.
TABLE = {
    "EkbError": (UNSENT, UNSENT, ROW, ROW, ROW),
    "ConfigError": (UNSENT, UNSENT, ROW, ROW, ROW),
    "ManifestError": (UNSENT, UNSENT, ROW, ROW, ROW),
    "StorageError": (UNSENT, UNSENT, ROW, ROW, ROW),
    "BacklogBusyError": (UNSENT, UNSENT, ROW, ROW, ROW),
    "QueueFullError": (UNSENT, UNSENT, UNSENT, UNSENT, UNSENT),
    "SessionClosedError": (EVERY_CALL, EVERY_CALL, EVERY_CALL, EVERY_CALL, EVERY_CALL),
    "EkbTimeoutError": (UNSENT, UNSENT, UNSENT, SERVER, UNANSWERED),
    "QueueTimeoutError": (UNSENT, UNSENT, UNSENT, SERVER, UNANSWERED),
    "EkbConnectionError": (UNSENT, UNSENT, UNSENT, SERVER, UNANSWERED),
    "ProxyError": (UNSENT, UNSENT, UNSENT, SERVER, UNANSWERED),
    "ProxySettingError": (UNSENT, UNSENT, UNSENT, SERVER, UNANSWERED),
    "CallCancelledError": (UNSENT, UNSENT, ROW, ROW, ROW),
    "OutcomeUnknownError": (UNSENT, UNSENT, UNANSWERED, UNANSWERED, UNANSWERED),
    "ResponseError": (SERVER, UNSENT, ROW, SERVER, UNANSWERED),
    "ApiError": (ROW, UNSENT, ROW, ROW, ROW),
    "AuthError": (EVERY_CALL, EVERY_CALL, EVERY_CALL, EVERY_CALL, EVERY_CALL),
    "PermissionDeniedError": (EVERY_CALL, EVERY_CALL, EVERY_CALL, EVERY_CALL, EVERY_CALL),
    "TaskNotFoundError": (UNSENT, UNSENT, ROW, ROW, ROW),
    "ThrottledError": (UNSENT, UNSENT, ROW, ROW, ROW),
    "RecognitionError": (ROW, UNSENT, ROW, ROW, ROW),
    "ProviderError": (ROW, UNSENT, ROW, ROW, ROW),
    "StaffNotFoundError": (ROW, UNSENT, ROW, ROW, ROW),
    "InvoiceNotFoundError": (ROW, UNSENT, ROW, ROW, ROW),
    "InvoiceMismatchError": (ROW, UNSENT, ROW, ROW, ROW),
    "InvalidRequestError": (ROW, UNSENT, ROW, ROW, ROW),
    "ServerError": (SERVER, UNSENT, SERVER, SERVER, UNANSWERED),
}
CLASSES = dict(inspect.getmembers(errors, lambda found: inspect.isclass(found) and issubclass(found, EkbError)))


def test_the_table_has_every_class() -> None:
    """Each class of error of the package has a line in the table."""
    assert sorted(TABLE) == sorted(CLASSES)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("endpoint", [endpoints.OCR.path, endpoints.UPLOAD.path, endpoints.DOWNLOAD_URLS.path])
def test_what_a_failure_means(name: str, endpoint: str) -> None:
    """The fault is that of the table; an error of the row's file, or one that all calls meet, is decided by that."""
    of_files, preliminary, answered, free, billed_one = TABLE[name]
    for before, lost, billed, of_file in itertools.product((False, True), repeat=4):
        error = CLASSES[name]("it failed")
        error.preliminary, error.of_file = before, of_file
        for attribute, value in {"endpoint": endpoint, "sent": lost, "lost": lost}.items():
            if hasattr(error, attribute):
                setattr(error, attribute, value)
        if before:
            expected = preliminary if endpoint == endpoints.OCR.path else of_files
        else:
            expected = (billed_one if billed else free) if lost else answered
        if of_file and expected is not EVERY_CALL:
            expected = ROW
        assert fault_of(error, billed=billed) is expected, (before, lost, billed, of_file)
        error.for_all = True
        assert fault_of(error, billed=billed) is EVERY_CALL


def test_a_call_has_so_many_tries() -> None:
    """A call may be made again until it has had all its tries; other calls have their own."""
    retries = Retries(4)
    assert [retries.allow(1) for _ in range(4)] == [True, True, True, False]
    assert retries.allow(2, 3)
    assert not retries.allow(2)


def test_tries_that_are_stored_count() -> None:
    """Tries that other workers have stored with the call count, and each is counted once."""
    retries = Retries(9)
    assert [retries.allow(1, 3, stored=stored) for stored in (0, 3, 6)] == [True, True, False]
    assert not retries.allow(2, 3, stored=6)
    # Failures before the call was sent are not stored.
    assert [retries.allow(3) for _ in range(9)] == [True] * 8 + [False]


def test_a_call_that_fails_while_others_are_answered() -> None:
    """A call that fails again after others were answered is not made again; the count of an ended call is dropped."""
    retries = Retries(4)
    assert retries.allow(1, answers=7)
    assert retries.allow(1, answers=7)
    assert not retries.allow(1, answers=8)
    assert retries.allow(2, answers=7)
    retries.forget(2)
    assert retries.allow(2, answers=8)
