"""The names that programs import: each stays where it is, and one that was renamed still works and says so."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import pytest

import ekb_async
from ekb_async import EkbSession, StaticToken, TenantSessions
from ekb_async.backlog import ActiveRun, Backlog, BacklogTiming, TenantCounts
from ekb_async.queue.stats import QueueStats
from ekb_async.storage.timing import OF_BACKLOGS, StorageTiming

PUBLIC = {
    "ekb_async": (
        "ApiError AppCredentials Attachment Attempt AuthError BacklogBusyError BatchStats CapturingTransport "
        "CallCancelledError CheckedInvoice "
        "CoachTicketForm ConfigError Document DocumentAttachment DocumentFile DocumentFiles DocumentInvoice "
        "DocumentInvoiceFile DocumentPlace DocumentWalk EkbConnectionError EkbError EkbSession "
        "EkbTimeoutError ExpenseInvoice ExpenseInvoiceForm FileContent FileJob FileUrl FixedAmountForm "
        "FlightItineraryForm Hooks InvalidRequestError InvoiceDetail InvoiceFile InvoiceForm InvoiceId "
        "InvoiceKind InvoiceMismatchError InvoiceNotFoundError InvoiceRef InvoiceUrl Job LedgerInvoice "
        "LedgerWalk Licence LocalFile MachinePace MachinePrintedForm MachineTokens ManifestError "
        "ManifestProblem MedicalInvoiceForm NonTaxIncomeForm OcrDetails OcrInvoice OcrResult OtherInvoiceForm "
        "Outcome OutcomeUnknownError Payer PermissionDeniedError Priority ProviderError ProxyError "
        "ProxySettingError QueueFullError QueueStats QueueTimeoutError RecognitionError ResponseError "
        "ServerError SessionClosedError SessionConfig SessionStats ShoppingReceiptForm Staff "
        "StaffNotFoundError StaticToken StorageError TaskNotFoundError TaxiReceiptForm TenantCredentials "
        "TenantSessions ThrottledError TollReceiptForm TrainTicketForm UnknownInvoiceForm VatCategory VatInvoiceForm "
        "VerifiedInvoice VerifyResult expense_invoice_form"
    ),
    "ekb_async.backlog": (
        "Accounting ActiveRun AddReport AutoPause Backlog BacklogHealth BacklogMetrics BacklogTiming Budget "
        "CancelReport Cause Completion CopyReport Estimate GivenUp HealthProblem KindAccounting KindProgress "
        "LeftOut OtherTenants Pause PauseReport Progress Purged PurgedInvoices PurgeReport RemoveReport "
        "ResumeReport RetryReport Row Summary Task TenantCounts TenantMetrics TenantState Verified Wait "
        "Waiting"
    ),
    "ekb_async.einvoice": (
        "EInvoice ReaderPool ReaderPoolClosedError Reading check_fields examine identity_of read read_many"
    ),
    "ekb_async.sandbox": "Fault LogEntry Replay Rules SampleInvoice Sandbox Vendor VendorReply VendorRequest",
    "ekb_async.testing": "ekb_sandbox pytest_configure",
    "ekb_async.simulation": "InMemoryTransport VirtualTimeLoop",
    "ekb_async.postgres": "EnqueueReport Enqueuer InvoiceJob PostgresPace PostgresTokens SchemaReport install_schema",
    "ekb_async.ext.otel": "BacklogTelemetry Telemetry",
    "ekb_async.ext.pgqueuer": "EnqueueReport Enqueuer InvoiceJob WorkerTiming enqueue install_schema register",
    "ekb_async.ext.procrastinate": "EnqueueReport Enqueuer InvoiceJob WorkerTiming enqueue install_schema register",
}
"""All that is public, by the module that it is imported from."""

ROOMS = (
    "__init__.py aio backlog cli client config.py einvoice errors.py ext files i18n models pacing postgres.py protocol "
    "py.typed queue redaction sandbox session simulation.py storage testing.py tokens validation.py"
)


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_can_be_imported(module: str) -> None:
    """A public module has exactly the listed names in its `__all__`."""
    found = importlib.import_module(module)
    names = PUBLIC[module].split()
    assert [name for name in names if getattr(found, name, None) is None] == []
    assert sorted(found.__all__) == sorted(names)


def test_the_package_has_the_rooms_of_its_map() -> None:
    """The package contains only its rooms and public modules; a new file goes into a room."""
    package = Path(ekb_async.__file__).parent
    files = {path.relative_to(package) for path in package.rglob("*") if path.suffix in {".py", ".typed"}}
    found = {path.parts[0] for path in files}
    assert found == set(ROOMS.split())


def test_a_renamed_class_is_found_under_its_former_name() -> None:
    """The deprecated names `LaneStats` and `RunAt` return `QueueStats` and `ActiveRun`, with a warning."""
    with pytest.warns(DeprecationWarning, match="LaneStats is now called QueueStats"):
        assert ekb_async.LaneStats is QueueStats
    with pytest.warns(DeprecationWarning, match="RunAt is now called ActiveRun"):
        assert importlib.import_module("ekb_async.backlog").RunAt is ActiveRun


async def test_renamed_methods_work_under_their_former_names(tmp_path: Path) -> None:
    """Deprecated methods, arguments and fields work under their former names, with a warning."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.warns(DeprecationWarning, match=r"Backlog\.hosts is now called active_runs"):
            assert await backlog.hosts() == []
        with pytest.warns(DeprecationWarning, match=r"causes\(most=\) is now called limit"):
            assert await backlog.causes(most=1) == []
    with pytest.warns(DeprecationWarning, match="most_idle is now called max_idle"):
        sessions = TenantSessions(lambda _: EkbSession(StaticToken("t")), most_idle=1)
    async with sessions:
        with pytest.warns(DeprecationWarning, match=r"TenantSessions\.of is now called session"):
            opened = sessions.of("acme")
        async with opened as ekb:
            assert isinstance(ekb, EkbSession)
    counts = TenantCounts(tenant="", counts={}, unconfirmed=3, maybe_billed=0)
    with pytest.warns(DeprecationWarning, match=r"TenantCounts\.doubtful is now called unconfirmed"):
        assert counts.doubtful == 3


def test_every_field_of_the_timing_variable_is_known() -> None:
    """What reads a part of `EKB_TIMING` knows the fields that only backlogs have."""
    assert set(BacklogTiming.__struct_fields__) - set(StorageTiming.__struct_fields__) == OF_BACKLOGS
