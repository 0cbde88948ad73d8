"""Committing imported rows to a backlog, each row once.

A row is present already if its call has a row that was written for the same purpose. Four keys define what counts as
the same: all values; the file as written, whatever its manifest's folder; the file in any spelling; the reference
alone. The strictest is tried first, and rows that are equal under a key are paired in order: if a manifest repeats a
row, as many repetitions are present as were added before. Only rows of one call and one reference are compared
(surrounding blanks do not count), so kind, tenant and content are equal anyway.

The file as written says nothing where two folders were added and both are still there: copies of an invoice often have
one name, and the second copy, perhaps of another person, is a row that shares the call. A folder that is not there any
more counts as moved.

A row that is present changes no state and no count, and no row repeats a failed call, which is left to `retry`. But a
call that is not done is made from the latest row: a manifest that is added again brings fresh URLs, the present paths
of files and the right staff ID. For a call that a run has claimed, this takes effect if the call is released.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import msgspec

from ekb_async.backlog.store.transactions.sharing import Sharing, keep_keys, share
from ekb_async.backlog.store.values.reports import AddReport
from ekb_async.models.files import is_url, parse_attachment
from ekb_async.redaction.signed_urls import without_signature
from ekb_async.storage.statements import Statements

BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001))))
"""The characters that do not count around a reference."""


class Source(NamedTuple):
    """The manifest of imported rows, which refer to it by `id`; the n-th of an import. It is added now by default."""

    path: str
    columns: str
    own: str = "[]"
    added_at: float | None = None
    id: int = 1
    n: int = 1


class _Spelled(NamedTuple):
    is_new: bool
    id: int
    same: str


def spelled(manifest: str, file: str) -> str:
    """Return one text for all spellings of a row's file."""
    if not file:
        return ""
    if is_url(file):
        return without_signature(file)
    if attachment := parse_attachment(file):
        return f"attachment:{attachment.id}"
    return os.path.normpath(os.path.join(os.path.dirname(manifest), file))  # noqa: PTH118, PTH120 - many rows


async def add_imported(
    statements: Statements,
    sql: ModuleType,
    invoice_sql: ModuleType,
    manifest: Path,
    columns: tuple[str, ...],
    own: tuple[str, ...] = (),
    *,
    distinct: bool = False,
    again: bool = False,
    apart: Sequence[str] = (),
) -> AddReport:
    """Add the imported rows to the backlog, within the caller's transaction.

    `apart` are the manifests of other folders, whose files are others even if they have the same names.

    With `distinct`, a row that repeats the call and the reference of an earlier imported one is dropped. Rows that were
    purged are dropped, unless they are to be added `again`.
    """
    source = Source(str(manifest), _stored(columns), _stored(own))
    await statements.write(sql.IMPORT_SOURCES, [source])
    imported, purged = await statements.value(sql.COUNT_IMPORTED), 0
    if not again and await statements.value(invoice_sql.HAS_DIGESTS):
        purged = await statements.execute(invoice_sql.DROP_PURGED, blanks=BLANKS)
    rows = imported - purged - (await statements.execute(sql.DROP_REPEATED, blanks=BLANKS) if distinct else 0)
    base = await statements.value(sql.RESERVE_MANIFESTS, count=1)
    manifest_id = base + source.n
    shares = await share(statements, invoice_sql)
    present, moved = await match(statements, sql, apart), 0
    if present:
        await statements.execute(invoice_sql.KEEP_PRINTED)
        moved = await statements.execute(sql.MOVE_ROWS, manifest_id=manifest_id)
        await statements.script(sql.RAISE_PRIORITY)
    if rows == present and not moved:
        # The manifest is recorded nevertheless, so that no export overwrites its file.
        await statements.execute(sql.RECORD_MANIFEST)
        return AddReport(added=0, duplicates=rows, present=present, purged=purged)
    await statements.execute(sql.ADD_MANIFESTS, manifest_base=base)
    if moved:
        await statements.script(sql.PREPARE_MOVE)
        await statements.execute(sql.MOVE_CALLS, manifest_id=manifest_id)
    if present:
        await statements.execute(sql.DROP_PRESENT)
    sharing = await statements.fetch_as(Sharing, invoice_sql.COUNT_SHARING) if shares else [Sharing()]
    row_base = await statements.value(sql.RESERVE_ROWS, count=imported)
    added = await _write(statements, sql, rows - present, manifest_base=base, row_base=row_base)
    if shares:
        await keep_keys(statements, invoice_sql)
    same, conflicts = sharing[0]
    duplicates = rows - added
    return AddReport(added, duplicates, present=present, same_invoice=same, conflicts=conflicts, purged=purged)


async def _write(statements: Statements, sql: ModuleType, rows: int, **bases: int) -> int:
    """Write the imported rows, so many, and their calls; return the number of new calls."""
    last = await statements.value(sql.LAST_CALL)
    await statements.execute(sql.IMPORT_CALLS, **bases, last=last)
    added = int(await statements.value(sql.COUNT_CALLS_AFTER, last=last))
    # If each row has a new call of its own, the calls need not be searched for.
    is_each_alone = added == rows
    await statements.execute(sql.IMPORT_LONE_ROWS if is_each_alone else sql.IMPORT_ROWS, **bases, last=last)
    return added


def _stored(names: tuple[str, ...]) -> str:
    return msgspec.json.encode(names).decode()


async def match(statements: Statements, sql: ModuleType, apart: Sequence[str] = ()) -> int:
    """Find the imported rows that are present already, and return their number."""
    await statements.script(sql.PREPARE_IMPORT)
    wanted, present = await statements.execute(sql.WANTED, blanks=BLANKS), 0
    for query in (sql.MATCH_AS_WRITTEN, sql.MATCH_FILE, sql.MATCH_SPELLED, sql.MATCH_BY_REF):
        if present == wanted:
            break
        await statements.script(sql.PREPARE_MATCH)
        if query == sql.MATCH_SPELLED and sql.LEFT_OVER:
            left_over = await statements.fetch(sql.LEFT_OVER, blanks=BLANKS)
            texts = [_Spelled(is_new, row_id, spelled(path, file)) for is_new, row_id, path, file in left_over]
            await statements.write(sql.SPELL, texts)
        is_by_name = query in {sql.MATCH_AS_WRITTEN, sql.MATCH_FILE}
        present += await statements.execute(query, blanks=BLANKS, apart=list(apart) if is_by_name else [])
    return present
