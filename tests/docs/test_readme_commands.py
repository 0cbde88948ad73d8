"""The two commands with which the READMEs open: one shows the main job, one runs the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import ekb_process
from tests.support.pages import CHINESE_README, README, ROOT, Block, blocks_of

BOTH = pytest.mark.parametrize("readme", [README, CHINESE_README], ids=lambda readme: readme.name)
SET_UP = "python3 -m venv .venv && .venv/bin/pip install -q -e "


def _first_blocks(readme: Path) -> list[Block]:
    return list(blocks_of(readme))[:2]


@BOTH
@pytest.mark.process
@pytest.mark.slow
async def test_the_demo(readme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first command sets up an environment with extras of this package, and runs the demo in it."""
    install, command = _first_blocks(readme)[0].text.rstrip().rsplit(" && ", 1)
    assert install == f'{SET_UP}".[cli,xlsx,report]"'
    program, *arguments = command.split()
    assert program == ".venv/bin/ekb"
    monkeypatch.chdir(tmp_path)
    assert (await ekb_process(*arguments)).status == 0
    assert {each.name for each in (tmp_path / "ekb-demo").iterdir()} >= {"report.html", "results.csv"}


@BOTH
def test_the_test_command(readme: Path) -> None:
    """The second command runs the tests, and CI runs the second command of the README in English."""
    block = _first_blocks(readme)[1]
    assert block.text == f'{SET_UP}".[test]" && .venv/bin/python -m tests\n'
    assert f"<!-- test: {block.directive} -->" in README.read_text(encoding="utf-8")
    assert "test_the_test_command" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
