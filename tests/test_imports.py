"""Importing the package loads few modules, and reports a broken dependency."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ekb_async
from ekb_async import einvoice

REPAIR = "pip install --force-reinstall python-backoff"


def python(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, with `path` first among the directories of modules."""
    package = str(Path(ekb_async.__file__).parents[1])
    paths = [package] if path is None else [str(path), package]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def assert_runs(code: str) -> None:
    """Assert that a program runs to its end in a process of its own."""
    outcome = python("-c", code)
    assert outcome.returncode == 0, outcome.stderr


@pytest.fixture(params=["gone", "empty"])
def without_backoff(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory that makes `backoff` unusable, as after `pip uninstall backoff`."""
    (tmp_path / "backoff").mkdir()
    body = 'raise ModuleNotFoundError("No module named \'backoff\'", name="backoff")' if request.param == "gone" else ""
    (tmp_path / "backoff" / "__init__.py").write_text(body)
    return tmp_path


@pytest.mark.process
@pytest.mark.parametrize("module", ["ekb_async", "ekb_async.testing"])
def test_importing_loads_next_to_nothing(module: str) -> None:
    """Neither the package nor its pytest plugin loads a dependency or another module of the package."""
    code = (
        f"import sys, {module}\n"
        "ours = {name for name in sys.modules if name.startswith('ekb_async')}\n"
        "plugin = {'ekb_async.sandbox', 'ekb_async.sandbox.pytest_plugin'}\n"
        f"assert ours - plugin == {{'ekb_async', {module!r}}}, ours\n"
        "loaded = {'aiohttp', 'aiolimiter', 'msgspec', 'backoff', 'asyncio', 'ssl', 'sqlite3'} & set(sys.modules)\n"
        "assert not loaded - ({'asyncio', 'ssl'} if 'pytest' in sys.modules else set()), loaded\n"
    )
    assert_runs(code)


@pytest.mark.process
def test_the_network_client_is_loaded_with_the_first_session() -> None:
    """No public name needs the HTTP client, nor does a session over another transport; a session of its own does."""
    code = (
        "import sys, ekb_async\n"
        "for name in ekb_async.__all__: getattr(ekb_async, name)\n"
        "keys = ekb_async.StaticToken('token')\n"
        "ekb_async.EkbSession(keys, transport=object())\n"
        "assert 'aiohttp' not in sys.modules\n"
        "ekb_async.EkbSession(keys)\n"
        "assert 'aiohttp' in sys.modules\n"
    )
    assert_runs(code)


@pytest.mark.process
def test_a_backlog_loads_no_session_and_no_reader_before_it_needs_one() -> None:
    """A backlog can be opened, looked at and exported without what makes calls, reads files or draws pages."""
    code = (
        "import sys, ekb_async.backlog, ekb_async.cli.backlog.showing.status, ekb_async.cli.backlog.rows.listing\n"
        "parts = ('ekb_async.session', 'ekb_async.client', 'ekb_async.queue', 'ekb_async.einvoice.reader')\n"
        "parts += ('ekb_async.backlog.results.report', 'aiohttp', 'asyncpg', 'openpyxl', 'xlsxwriter', 'pyarrow')\n"
        "assert not (loaded := [name for name in sys.modules if name.startswith(parts)]), loaded\n"
    )
    assert_runs(code)


def test_every_name_of_einvoice_is_there() -> None:
    """Each name of `ekb_async.einvoice` can be imported and is listed by `dir`, and no other one is there."""
    for name in einvoice.__all__:
        assert getattr(einvoice, name) is not None
    assert set(einvoice.__all__) <= set(dir(einvoice))
    assert not hasattr(einvoice, "reed")


def test_every_public_name_is_there() -> None:
    """Each name of `__all__` can be imported, is listed by `dir` and is visible to type checkers."""
    for name in ekb_async.__all__:
        assert getattr(ekb_async, name) is not None
    assert set(ekb_async.__all__) <= set(dir(ekb_async))
    tree = ast.parse(Path(ekb_async.__file__).read_text(encoding="utf-8"))
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(set(imported) - {"TYPE_CHECKING"}) == sorted(ekb_async.__all__)


@pytest.mark.process
def test_modules_are_attributes_as_before() -> None:
    """Public modules such as `ekb_async.errors` are attributes, and other names raise `AttributeError`."""
    code = "import ekb_async; assert ekb_async.errors.EkbError is ekb_async.EkbError; ekb_async.sesion"
    outcome = python("-c", code)
    assert outcome.stderr.splitlines()[-1] == "AttributeError: module 'ekb_async' has no attribute 'sesion'"


@pytest.mark.process
def test_a_missing_backoff_is_reported_with_its_repair(without_backoff: Path) -> None:
    """The error for a missing `backoff`, which two distributions install, contains the command that repairs it."""
    outcome = python("-c", "from ekb_async import EkbSession", path=without_backoff)
    last = outcome.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ekb_async cannot import backoff")
    assert REPAIR in last


@pytest.mark.process
def test_the_command_reports_a_missing_backoff(without_backoff: Path) -> None:
    """A command that needs it ends with the error message and without a traceback."""
    outcome = python("-m", "ekb_async.cli", "urls", "corp:1:1", path=without_backoff)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("ekb: ekb_async cannot import backoff")
    assert REPAIR in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.process
def test_the_plugin_survives_a_missing_backoff(without_backoff: Path, tmp_path: Path) -> None:
    """Without `backoff`, tests of other projects run, and the sandbox fixture works."""
    tests = tmp_path / "tests"
    tests.mkdir()
    code = "def test_other(): pass\n\ndef test_it(ekb_sandbox): assert ekb_sandbox.base_url\n"
    (tests / "test_it.py").write_text(code)
    plugins = ("-p", "no:cacheprovider", "-p", "ekb_async.testing")
    outcome = python("-m", "pytest", "-q", *plugins, "--rootdir", str(tests), str(tests), path=without_backoff)
    assert "2 passed" in outcome.stdout, outcome.stdout + outcome.stderr
