"""Bundles that are damaged, and the command that replays one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ekb_async import ConfigError, StorageError
from ekb_async.client.capture.bundle import DESCRIPTION, EXCHANGES
from ekb_async.sandbox import Replay, Sandbox
from tests.support.captures import captured_calls, captured_session, urls
from tests.support.command import ekb as command
from tests.support.command import start

DAMAGES: dict[str, tuple[Callable[[Path], object], type[ConfigError], str]] = {
    "no bundle": (lambda path: (path / DESCRIPTION).unlink(), ConfigError, "is no bundle: it has no file bundle.json"),
    "no exchanges": (lambda path: (path / EXCHANGES).unlink(), ConfigError, "has no file exchanges.jsonl"),
    "no JSON": (lambda path: (path / DESCRIPTION).write_text("{"), StorageError, "the bundle is damaged"),
    "another format": (
        lambda path: _replace(path / DESCRIPTION, '"format": 1', '"format": 9'),
        ConfigError,
        "format 9",
    ),
    "a line cut off": (lambda path: _cut(path / EXCHANGES), StorageError, "its last line has no end"),
    "a wrong line": (lambda path: _replace(path / EXCHANGES, '"status":200', '"status":"x"'), StorageError, "line 1: "),
    "a wrong encoding": (lambda path: _replace(path / EXCHANGES, '"utf-8"', '"utf-99"'), StorageError, "line 1: "),
    "an encoding of no text": (lambda path: _replace(path / EXCHANGES, '"utf-8"', '"hex"'), StorageError, "line 1: "),
    "an escape": (
        lambda path: _replace(path / EXCHANGES, '"utf-8"', r'"\u001b[31mred"'),
        StorageError,
        r"line 1: [ -~]+$",
    ),
    "no status": (lambda path: _replace(path / EXCHANGES, '"status":200', '"status":100'), StorageError, "status 100"),
    "framing": (
        lambda path: _replace(path / EXCHANGES, '"Content-Type"', '"Content-Length"'),
        StorageError,
        "the header Content-Length",
    ),
    "no text": (lambda path: (path / EXCHANGES).write_bytes(b"\xff\xfe\n"), StorageError, "line 1: "),
}


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_bundle_is_refused(tmp_path: Path, damage: str) -> None:
    """What is wrong with a bundle is named, with its file and line."""
    await captured_calls(tmp_path / "bundle", [urls(2)], ["c:1:1"])
    make, kind, reason = DAMAGES[damage]
    make(tmp_path / "bundle")
    with pytest.raises(kind, match=reason):
        async with Replay(tmp_path / "bundle"):
            raise AssertionError
    with pytest.raises(ConfigError, match="directory must be a path"):
        Replay(7)  # type: ignore[arg-type]


@pytest.mark.process
async def test_the_command_replays(quick_box: Sandbox, tmp_path: Path) -> None:
    """`ekb sandbox --replay` answers as the bundle records, until it is interrupted."""
    async with captured_session(quick_box, tmp_path / "bundle") as (ekb, _):
        await ekb.invoice_urls(["corp:1:12345678"])
    process = await start("sandbox", "--replay", tmp_path / "bundle", box=None)
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(3)]
    variables = dict(line.removeprefix("export ").strip().split("=") for line in lines)
    ended = await command("urls", "corp:1:12345678", box=None, **variables)
    assert "no such invoice" in ended.output.decode() + ended.messages
    process.terminate()
    await process.communicate()


async def test_the_command_refuses_what_is_no_bundle(tmp_path: Path) -> None:
    """A directory without a bundle is a wrong argument."""
    ended = await command("sandbox", "--replay", tmp_path, box=None)
    assert ended.status == 2
    assert "is no bundle" in ended.messages
