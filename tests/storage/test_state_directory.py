"""Files that a user's processes share: closed to other users, and no links to other files."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ekb_async import ConfigError, EkbSession, MachinePace, MachineTokens, SessionConfig
from ekb_async.sandbox import Sandbox
from ekb_async.storage.state_directory import state_directory
from tests.conftest import FAST

URL = "https://files.example.com/a.png"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


async def recognise(box: Sandbox, state: Path | None) -> None:
    """Make one call of a session that shares pace and token through a directory."""
    pacer, tokens = MachinePace(state), MachineTokens(state)
    config = SessionConfig(**FAST)
    async with EkbSession(
        box.credentials, base_url=box.base_url, config=config, pacer=pacer, token_store=tokens
    ) as ekb:
        assert (await ekb.ocr(URL)).invoices


async def look_up(box: Sandbox, state: Path) -> None:
    """Make one call of a session that shares its token through a directory."""
    tokens = MachineTokens(state)
    async with EkbSession(box.credentials, base_url=box.base_url, token_store=tokens) as ekb:
        assert await ekb.invoice_urls(["corp:1:2"])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def token_file(state: Path) -> Path:
    (file,) = (state / "tokens").glob("*.sqlite")
    return file


def database(path: Path) -> bytes:
    """Create a database of another program and return the content of its file."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (secret TEXT)")
        db.execute("INSERT INTO theirs VALUES ('theirs')")
        db.commit()
    return path.read_bytes()


async def test_new_files_are_private(quick_box: Sandbox, tmp_path: Path) -> None:
    """Directories and files are created for this user alone, whatever the umask."""
    before = os.umask(0)
    try:
        await recognise(quick_box, tmp_path / "deep" / "state")
    finally:
        os.umask(before)
    state = tmp_path / "deep" / "state"
    assert (mode(state), mode(state / "tokens")) == (0o700, 0o700)
    assert {mode(state / "pace.sqlite"), mode(token_file(state))} == {0o600}


async def test_own_files_and_folders_are_closed(
    quick_box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files and folders that the package named are closed to other users if those could open them."""
    monkeypatch.delenv("EKB_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    await recognise(quick_box, None)
    state = state_directory()
    opened = {state: 0o777, state / "tokens": 0o755, state / "pace.sqlite": 0o666, token_file(state): 0o644}
    for path, open_mode in opened.items():
        path.chmod(open_mode)
    await recognise(quick_box, None)
    assert {path: mode(path) & 0o077 for path in opened} == dict.fromkeys(opened, 0)
    assert quick_box.count("token") == 1


@pytest.mark.parametrize("open_mode", [0o770, 0o707, 0o1777])
async def test_a_folder_that_others_can_write_to_is_refused(
    quick_box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, open_mode: int
) -> None:
    """A folder that the user named is not changed, and neither pace nor token is stored in it."""
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(open_mode)
    with pytest.raises(ConfigError, match=r"other users can write to .*state: close it to them"):
        await recognise(quick_box, state)
    await look_up(quick_box, state)
    assert "other users can write to" in caplog.text
    assert mode(state) == open_mode
    assert list(state.iterdir()) == []
    await recognise(quick_box, state / "inside")


async def test_a_folder_that_others_can_read_is_used(quick_box: Sandbox, tmp_path: Path) -> None:
    """A folder that others can only read is used; they cannot read the files in it."""
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    await recognise(quick_box, state)
    assert mode(state) == 0o755
    assert {mode(state / "pace.sqlite"), mode(token_file(state))} == {0o600}


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
async def test_a_link_to_another_database_is_refused(
    quick_box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, link: Callable[[Path, Path], None]
) -> None:
    """A token file or pace file that is a link to a file of another program is not opened and not changed."""
    state = tmp_path / "state"
    await recognise(quick_box, state)
    content = database(tmp_path / "other.sqlite")
    for path in (token_file(state), state / "pace.sqlite"):
        path.unlink()
        link(tmp_path / "other.sqlite", path)
    (tmp_path / "other.sqlite").chmod(0o644)
    await look_up(quick_box, state)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    with pytest.raises(ConfigError, match=r"pace\.sqlite is (a link|not a file of its own)"):
        await recognise(quick_box, state)
    assert (tmp_path / "other.sqlite").read_bytes() == content
    assert mode(tmp_path / "other.sqlite") == 0o644


async def test_a_folder_of_tokens_that_is_a_link_is_refused(
    quick_box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The state directory may be a link, which its user made; the folder that the package creates in it may not."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "elsewhere")
    await recognise(quick_box, tmp_path / "state")
    assert caplog.records == []
    (tmp_path / "elsewhere" / "tokens").rename(tmp_path / "moved")
    (tmp_path / "elsewhere" / "tokens").symlink_to(tmp_path / "moved")
    await look_up(quick_box, tmp_path / "state")
    assert "tokens is a link" in caplog.text


async def test_a_foreign_database_in_place_of_the_token(
    quick_box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A database of another program at the path of the token file is not changed."""
    await look_up(quick_box, tmp_path)
    path = token_file(tmp_path)
    path.unlink()
    content = database(path)
    path.chmod(0o640)
    await look_up(quick_box, tmp_path)
    assert "not one of ekb_async" in caplog.text
    assert path.read_bytes() == content
    assert mode(path) == 0o640


@pytest.mark.root
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
async def test_what_belongs_to_another_user_is_refused(quick_box: Sandbox) -> None:
    """A file that another user owns is refused, since that user could change it at any time."""
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory)
        await recognise(quick_box, state)
        os.chown(state, 4321, -1)
        os.chown(state / "pace.sqlite", 4322, -1)
        os.seteuid(4321)
        try:
            with pytest.raises(ConfigError, match=r"pace\.sqlite belongs to another user"):
                await recognise(quick_box, state)
        finally:
            os.seteuid(0)
