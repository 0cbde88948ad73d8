"""Names of backlogs, exports and reports that are as long as the file system allows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ekb_async import ConfigError, EkbSession
from ekb_async.backlog import Backlog
from tests.support.backlogs import manifest, names_in


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
async def test_a_long_name(tmp_path: Path, ekb: EkbSession) -> None:
    """A backlog's name may be as long as SQLite's files beside it allow; a longer one is refused with the limit."""
    directory = tmp_path / "d"
    directory.mkdir()
    row = manifest(tmp_path, "ocr,https://f.example/a.png,,,,")
    name = "票" * 80 + ".sqlite"
    async with Backlog.open(directory / name) as backlog:
        await backlog.add_manifest(row)
        assert (await backlog.run(ekb)).counts["done"] == 1
        await backlog.export(directory / ("票" * 83 + ".jsonl"))
        await backlog.report(directory / ("票" * 83 + ".html"))
    assert len(names_in(directory)) == 3
    with pytest.raises(ConfigError, match="the name of a backlog has at most 247 bytes"):
        async with Backlog.open(directory / ("b" * 248)):
            pass
