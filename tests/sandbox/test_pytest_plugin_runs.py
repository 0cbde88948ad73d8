"""The fixture `ekb_sandbox` in runs of pytest of their own, with and without pytest-asyncio."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN_TEST = """
import pytest

{mark}
@pytest.mark.ekb_sandbox(ocr_rate=7)
async def test_marked(ekb_sandbox):
    assert ekb_sandbox.vendor.rules.ocr_rate == 7
    assert ekb_sandbox.base_url.startswith("http://127.0.0.1:")

{mark}
async def test_plain(ekb_sandbox):
    assert ekb_sandbox.vendor.rules.ocr_rate == 1
    assert ekb_sandbox.log == []
"""


def run_pytest(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with the plugin in a separate process."""
    installed = importlib.metadata.entry_points(group="pytest11", name="ekb_async")
    plugin = () if installed else ("-p", "ekb_async.testing")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(directory)]
    return subprocess.run(  # noqa: S603 - our own command
        [*command, *plugin, "-W", "error", "--strict-markers", *arguments, str(directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.process
@pytest.mark.parametrize(("mode", "mark"), [("auto", ""), ("strict", "@pytest.mark.asyncio")])
def test_fixture(tmp_path: Path, mode: str, mark: str) -> None:
    """Each test gets its own sandbox with the marker's arguments, in both modes of pytest-asyncio."""
    (tmp_path / "test_it.py").write_text(PLUGIN_TEST.format(mark=mark))
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    outcome = run_pytest(tmp_path, "--asyncio-mode", mode)
    assert "2 passed" in outcome.stdout, outcome.stdout + outcome.stderr


@pytest.mark.process
def test_fixture_without_pytest_asyncio(tmp_path: Path) -> None:
    """The fixture works without a plugin for asynchronous tests."""
    body = "def test_it(ekb_sandbox):\n    assert ekb_sandbox.base_url.startswith('http://127.0.0.1:')\n"
    (tmp_path / "test_it.py").write_text(f"def test_other(): pass\n\n{body}")
    outcome = run_pytest(tmp_path, "-p", "no:asyncio")
    assert "2 passed" in outcome.stdout, outcome.stdout + outcome.stderr


@pytest.mark.process
def test_plugin_is_cheap_to_import() -> None:
    """Loading the plugin does not load the sandbox's web server."""
    code = "import sys; import ekb_async.testing; sys.exit('ekb_async.sandbox.server' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=False).returncode == 0  # noqa: S603 - our own command
