"""What `ekb backlog add` takes from the vendor: the invoices of the ledger, or of documents."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ekb_async import EkbSession
from ekb_async.backlog import AddReport, Backlog
from ekb_async.backlog.input.manifest import PAID
from ekb_async.backlog.input.vendor import checked_kinds, start_of_changes
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.output import counted, say
from ekb_async.errors import ConfigError
from ekb_async.protocol.endpoints import DOCUMENT_TYPES


class VendorRows(NamedTuple):
    """The options of the command that name invoices of the vendor."""

    flows: Path | None
    ledger: bool
    documents: bool
    document_type: str | None
    since: datetime | None
    kinds: list[str]

    @property
    def any(self) -> bool:
        """Whether anything is wanted from the vendor."""
        return self.flows is not None or self.ledger or self.documents

    def check(self, *, has_manifests: bool) -> None:
        """Raise `ConfigError` if an option lacks the one that it belongs to or is wrong, or nothing is to be added."""
        if not has_manifests and not self.any:
            raise ConfigError("give a manifest, --flows with a file of document codes, --ledger, or --documents")
        if self.kinds and not self.any:
            raise ConfigError(
                "--kind belongs to --flows, --ledger and --documents; in a manifest, the kind is a column"
            )
        for name, value in (("--type", self.document_type), ("--since", self.since)):
            if value is not None and not self.documents:
                raise ConfigError(f"{name} belongs to --documents")
        self._check_values()

    def _check_values(self) -> None:
        """Raise `ConfigError` for a value that the backlog would refuse, before anything is added."""
        if self.kinds and (self.ledger or self.documents):
            checked_kinds(self.kinds)
        if self.flows is not None and (wrong := [kind for kind in self.kinds if kind in PAID]):
            raise ConfigError(f"--flows takes no --kind {wrong[0]}")
        if self.document_type is not None:
            _check_type(self.document_type)
        start_of_changes(self.since, time.time())

    async def add(self, backlog: Backlog, ekb: EkbSession) -> None:
        """Add what is wanted, and say how much it was."""
        kinds = self.kinds or ["detail"]
        if self.flows is not None:
            await _add_flows(backlog, ekb, self.flows, kinds)
        if self.ledger:
            say(f"ledger: {counts_text(await backlog.add_ledger(ekb, kind=kinds))}")
        if self.documents:
            kind = self.document_type or "expense"
            report = await backlog.add_documents(ekb, type=kind, since=self.since, kind=kinds)
            say(f"{kind} documents: {counts_text(report)}")


def _check_type(name: str) -> None:
    if name not in DOCUMENT_TYPES:
        raise ConfigError(f"--type must be one of {', '.join(DOCUMENT_TYPES)}")


async def _add_flows(backlog: Backlog, ekb: EkbSession, flows: Path, kinds: list[str]) -> None:
    report = await backlog.add_flows(ekb, flows, kinds=kinds)
    say(f"{flows}: {counts_text(report)}")
    if report.missing:
        codes = [*report.missing[: LIMITS.shown_codes], *(["…"] if len(report.missing) > LIMITS.shown_codes else [])]
        say(f"  {counted(len(report.missing), 'code is')} unknown or without invoices: {', '.join(codes)}")


def counts_text(report: AddReport) -> str:
    present = f", {report.present:,} there already" if report.present else ""
    return f"{report.added:,} added, {report.duplicates - report.present:,} the same as another row{present}"
