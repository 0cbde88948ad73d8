"""Which error says what: a wrong manifest, a database or file that cannot be used, a backlog that is in use."""

from __future__ import annotations

import copy
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ekb_async import BacklogBusyError, ConfigError, ManifestError, ManifestProblem, StorageError
from ekb_async.backlog import Backlog, BacklogTiming
from ekb_async.postgres import install_schema
from tests.support.backlogs import manifest


async def refused(path: Path, tmp_path: Path) -> ManifestError:
    """The error of a manifest that is added to a new backlog."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ManifestError) as caught:
            await backlog.add_manifest(path)
    return caught.value


async def test_a_wrong_manifest_names_its_problem(tmp_path: Path) -> None:
    """The problem has the file, line, column and reason that the text names, and survives copies and pickling."""
    path = manifest(tmp_path, "url,,c:1:1,,,", "verify,https://f.example/a.png,,,,")
    error = await refused(path, tmp_path)
    problem = ManifestProblem(str(path), 3, "staff_id", "verify needs the ID of the person who verifies")
    assert error.problems == (problem,)
    assert str(error) == str(problem) == f"{path}, line 3, column staff_id: {problem.reason}"
    for twin in (error.again(), copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert (str(twin), twin.problems) == (str(error), error.problems)


@pytest.mark.parametrize(
    ("name", "content", "line", "column"),
    [
        ("m.csv", "", None, None),
        ("m.csv", "kind,ref,ref\n", 1, "ref"),
        ("m.csv", 'kind,invoice_id\nurl,"c', 2, None),
        ("m.jsonl", "{}\n", 1, "kind"),
        ("m.jsonl", "nothing\n", 1, None),
        ("m.txt", "", None, None),
        ("m.csv", None, None, None),
    ],
)
async def test_every_wrong_manifest_is_a_manifest_error(
    tmp_path: Path, name: str, content: str | None, line: int | None, column: str | None
) -> None:
    """What is known of the place is in the problem; for one release the error is a `ConfigError` too."""
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    error = await refused(path, tmp_path)
    assert isinstance(error, ConfigError)
    [problem] = error.problems
    assert (problem.file, problem.line, problem.column) == (str(path), line, column)


async def test_a_list_of_codes_that_cannot_be_read(tmp_path: Path) -> None:
    """A list of document codes is reported as a manifest is."""
    with pytest.raises(ManifestError, match="the list of codes cannot be read") as caught:
        async with Backlog.open(tmp_path / "b.sqlite") as backlog:
            await backlog.add_flows(None, tmp_path / "gone.txt")  # type: ignore[arg-type]  # it is not used
    assert caught.value.problems[0].file == str(tmp_path / "gone.txt")


async def test_a_file_that_is_no_backlog(tmp_path: Path) -> None:
    """A file of another kind is a `StorageError`, and a `ConfigError` for one release."""
    path = tmp_path / "b.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StorageError) as caught:
        async with Backlog.open(path):
            pass
    assert isinstance(caught.value, ConfigError)
    assert not isinstance(caught.value, BacklogBusyError)


async def test_a_locked_backlog_is_busy(tmp_path: Path) -> None:
    """A file that another program has locked for longer than was waited is a `BacklogBusyError`."""
    path = tmp_path / "b.sqlite"
    timing = BacklogTiming(patience=0.1, lock_wait=0.01)
    async with Backlog.open(path, timing=timing) as backlog:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(BacklogBusyError):
                await backlog.add_manifest(manifest(tmp_path, "url,,c:1:1,,,"))
        assert (await backlog.add_manifest(manifest(tmp_path, "url,,c:1:1,,,"))).added == 1


async def test_an_export_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder that does not exist is a `StorageError`; another suffix is a wrong argument and nothing else."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(StorageError):
            await backlog.export(tmp_path / "nowhere" / "out.csv")
        with pytest.raises(ConfigError) as caught:
            await backlog.export(tmp_path / "out.doc")
    assert type(caught.value) is ConfigError


@pytest.mark.postgres
async def test_a_database_that_refuses(empty_database: str) -> None:
    """A statement that PostgreSQL refuses is a `StorageError`, a DSN that is none a wrong argument."""
    with pytest.raises(StorageError):
        await install_schema(empty_database.replace("/test_", "/gone_"))
    with pytest.raises(ConfigError) as caught:
        await install_schema("mysql://db")
    assert type(caught.value) is ConfigError
