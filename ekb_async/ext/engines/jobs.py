"""Calls as a program enqueues them, and the rows of the call table that they become."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date as Date  # noqa: N812 - a field is called date
from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec

from ekb_async.backlog.input.rows.fields import BY_FIELDS, FIELDS, InvoiceFields, WrongFieldError, fields_for
from ekb_async.backlog.input.rows.identity import file_identity, invoice_identity
from ekb_async.backlog.input.rows.kinds import LOOKUPS, OF_FILES, PAID
from ekb_async.backlog.input.rows.row import ManifestRow, has_control
from ekb_async.backlog.input.sources.left_out import readable
from ekb_async.config import Priority, checked_priority
from ekb_async.errors import ConfigError
from ekb_async.models.files import Attachment, InvoiceFile, LocalFile, has_host, is_url
from ekb_async.redaction.masking import redact
from ekb_async.redaction.signed_urls import has_credentials, without_signature
from ekb_async.validation import checked_text


class InvoiceJob(msgspec.Struct, frozen=True, kw_only=True):
    """A call for a worker on any host to make.

    `kind` is `ocr` or `verify`, with a `file`; `verify_by_id`, `url` or `detail`, with an `invoice_id`; or
    `verify_by_fields`, with `number`, `date` and whatever else is printed on the invoice: `code`, `amount` in yuan,
    `check_code`. A `date` in text is 20220110 or 2022-01-10; with it, `verify_by_id` too waits for the next day if the
    invoice is so new that the tax authority does not know it yet. `verify` needs a `staff_id` as well.

    `file` is an `Attachment`, a path that all workers can read, or a URL without a signature: signed URLs are secrets,
    and expire in a queue. `tenant` is the account that makes the call, `ref` is the user's own reference. Two jobs of
    one tenant for the same content are one call.
    """

    kind: Literal["ocr", "verify", "verify_by_id", "verify_by_fields", "url", "detail"]
    tenant: str = ""
    file: InvoiceFile | None = None
    invoice_id: str = ""
    staff_id: str = ""
    file_name: str = ""
    ref: str = ""
    priority: Priority = Priority.NORMAL
    code: str = ""
    number: str = ""
    date: Date | str = ""
    amount: Decimal | str = ""
    check_code: str = ""


def rows_of(jobs: Iterable[InvoiceJob]) -> Iterator[tuple[Priority, ManifestRow]]:
    """Yield the rows of jobs, with their priorities; local files are read for their hash.

    Raises `ConfigError` naming the number of the first job that is not valid, counted from 1, its file and the reason.
    """
    for line, job in enumerate(jobs, 1):
        try:
            row = _row(line, job)
        except ConfigError as error:
            raise _named(line, job, error) from None
        yield job.priority, row


def _named(line: int, job: InvoiceJob, error: ConfigError) -> ConfigError:
    """Return an error with the number and the file of its job."""
    name = readable(_name_of(job.file)) if isinstance(job, InvoiceJob) else ""
    if not name:
        return ConfigError(f"job {line}: {error} (jobs are counted from 1)")
    return ConfigError(f"job {line}: {error} (file {name}; jobs are counted from 1)")


def _name_of(file: object) -> str:
    """Return the name of a job's file without a signature, "" for what is no file."""
    if isinstance(file, Attachment):
        return f"attachment:{file.id}"
    if isinstance(file, LocalFile | Path):
        return str(file.path if isinstance(file, LocalFile) else file)
    return redact(without_signature(file)) if isinstance(file, str) and is_url(file) else ""


def _row(line: int, job: InvoiceJob) -> ManifestRow:
    if not isinstance(job, InvoiceJob):
        raise ConfigError(f"jobs must be InvoiceJob objects, not {type(job).__name__}")
    if job.kind not in (*PAID, *LOOKUPS):
        raise ConfigError(f"kind must be one of {', '.join((*PAID, *LOOKUPS))}, not {job.kind!r}")
    for name in ("tenant", "invoice_id", "staff_id", "file_name", "ref"):
        _check_text(name, getattr(job, name))
    if job.file_name:
        checked_text("file_name", job.file_name)
    checked_priority(job.priority)
    fields, date = _fields_of(job)
    file, identity = ("", fields.identity) if fields is not None else _content_of(job)
    return ManifestRow(
        line=line,
        kind=job.kind,
        identity=identity,
        ref=job.ref,
        file=file,
        invoice_id=job.invoice_id.strip(),
        staff_id=job.staff_id.strip(),
        file_name=job.file_name,
        tenant=job.tenant,
        date=date,
    )


def _fields_of(job: InvoiceJob) -> tuple[InvoiceFields | None, str]:
    """Return the fields that a job sends, None if its kind has none, and the date of its invoice, "" if unknown."""
    if job.kind not in OF_FILES and job.file is not None:
        raise ConfigError(f"{job.kind} takes no file")
    if (job.kind in OF_FILES or job.kind == BY_FIELDS) and job.invoice_id:
        raise ConfigError(f"{job.kind} takes no invoice_id")
    texts = [str(getattr(job, name)) for name in FIELDS]
    for name, text in zip(FIELDS, texts, strict=True):
        _check_text(name, text)
    try:
        return fields_for(job.kind, texts)
    except WrongFieldError as error:
        raise ConfigError(f"{error.column}: {error}") from None


def _content_of(job: InvoiceJob) -> tuple[str, str]:
    """Return the file of a job as a manifest names it, "" if it has none, and the identity of its call."""
    if job.kind not in OF_FILES:
        return "", invoice_identity(job.kind, checked_text("invoice_id", job.invoice_id).strip())
    if job.kind == "verify":
        checked_text("staff_id", job.staff_id)
    file = _file_text(job.file)
    _check_text("file", file)
    return file, file_identity(job.kind, file, Path("/").joinpath)


def _check_text(name: str, text: object) -> None:
    """Raise `ConfigError` if a manifest could not hold the text."""
    if not isinstance(text, str) or has_control(name, text):
        raise ConfigError(f"{name} must be a text without control characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{name} holds characters that cannot be encoded as UTF-8") from None


def _file_text(file: InvoiceFile | None) -> str:
    """Return the text by which a manifest names the file."""
    if isinstance(file, Attachment):
        return f"attachment:{file.id}:{file.key}"
    if isinstance(file, str) and is_url(file):
        if not has_host(file):
            raise ConfigError("the file's URL cannot be read")
        if has_credentials(file):
            raise ConfigError("a signed URL is a secret and expires in a queue: give the Attachment, or a path")
        return file
    if isinstance(file, LocalFile | Path):
        return str((file.path if isinstance(file, LocalFile) else file).absolute())
    raise ConfigError("file must be an Attachment, a path or a URL")
