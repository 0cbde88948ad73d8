"""The command starts quickly: the modules of a command are imported when it is used, not to list it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog, Row
from tests.support.command import environment
from tests.support.command_tree import command_tree

GROUPS = {names: command for names, command in command_tree() if hasattr(command, "list_commands")}
LIGHT = [
    (("--version",), {}),
    (("--help",), {}),
    (("--help",), {"EKB_LANG": "zh"}),
    (("backlog", "--help"), {}),
    (("backlog", "stauts"), {}),
    ((), {"_EKB_COMPLETE": "complete_bash", "COMP_WORDS": "ekb backlog re", "COMP_CWORD": "2"}),
]
"""What lists commands, or names one that does not exist."""


def modules_after(code: str, *arguments: str, **variables: str) -> set[str]:
    """Return the modules that a new process has loaded after it has run some code, which may exit."""
    code = f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    ended = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code, *arguments],
        env=environment(None, **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(ended.stderr.splitlines()[-1].split())


@pytest.mark.process
@pytest.mark.parametrize(("arguments", "variables"), LIGHT)
def test_a_list_of_commands_loads_none_of_them(arguments: tuple[str, ...], variables: dict[str, str]) -> None:
    """Version, help of a group and completion load neither a command nor what commands import."""
    loaded = modules_after("from ekb_async.cli import main; main()", *arguments, **variables)
    assert "typer" in loaded
    assert not loaded & {"aiohttp", "asyncio", "msgspec", "sqlite3", "ekb_async.cli.runner", "ekb_async.session"}


@pytest.mark.process
def test_help_does_not_load_what_it_does_not_show() -> None:
    """Typer's help imports formatting of Markdown and tracebacks, of which our help has none."""
    loaded = modules_after("from ekb_async.cli import main; main()", "--help")
    assert "typer.rich_utils" in loaded
    assert not loaded & {"markdown_it", "pygments", "rich.markdown", "rich.traceback"}


@pytest.mark.process
def test_what_help_does_not_show_can_still_be_used() -> None:
    """A program that runs the command in its own process can let Typer format Markdown and tracebacks after it."""
    code = (
        "from ekb_async.cli.command_line.help_module import help_module; from rich.text import Text; u = help_module();"
        "assert type(u.Markdown('# x')).__module__ == 'rich.markdown';"
        "error = ValueError(); assert u.Traceback.from_exception(ValueError, error, None).trace.stacks"
    )
    assert {"rich.markdown", "rich.traceback", "markdown_it"} <= modules_after(code)


@pytest.mark.process
@pytest.mark.parametrize("arguments", [("status",), ("list",), ("health",), ("export", "rows.csv")], ids=" ".join)
async def test_looking_at_a_backlog_loads_no_client(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Commands that only read a backlog load neither sessions nor the libraries of other formats and databases."""
    place = tmp_path / "b.sqlite"
    async with Backlog.open(place) as backlog:
        await backlog.add([Row(kind="url", invoice_id="corp:1:1")])
    command, *files = arguments
    given = ["backlog", command, str(place), *(str(tmp_path / file) for file in files)]
    loaded = modules_after("from ekb_async.cli import main; main()", *given)
    assert "ekb_async.backlog.backlog" in loaded
    assert not loaded & {"aiohttp", "asyncpg", "openpyxl", "xlsxwriter", "pyarrow", "jinja2", "ekb_async.session"}


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_summaries_are_those_of_the_commands(group: tuple[str, ...]) -> None:
    """A group lists each command with the first paragraph of the command's own help."""
    listed = GROUPS[group]
    commands = {names[-1]: command for names, command in command_tree() if names[:-1] == group and names}
    summaries = {name: each.help for name, each in listed.commands.items()}
    assert summaries == {name: command.help.partition("\n\n")[0] for name, command in commands.items()}
    assert len(summaries) == len(listed.entries)
