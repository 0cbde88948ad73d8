"""`ekb completion`: the scripts, and what they get from the command."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.command import COMMAND, ekb, environment

ASK_BASH = """
eval "$(ekb completion bash)"
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _ekb_completion ekb; echo "${COMPREPLY[*]}"; }
ask ekb back
ask ekb backlog re
ask ekb backlog list b.sqlite --state ""
ask ekb ocr --l
"""


async def shell(name: str, script: str, directory: Path) -> list[str]:
    """Run a script in a shell that finds `ekb`, and return the lines that it prints."""
    program = directory / "ekb"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ekb_async.cli "$@"\n')
    program.chmod(0o755)
    variables = environment(None, PATH=f"{directory}:{os.environ['PATH']}")
    process = await asyncio.create_subprocess_exec(
        name, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=variables
    )
    output, _ = await process.communicate(script.encode())
    assert process.returncode == 0
    return output.decode().splitlines()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
async def test_bash_completes_commands_options_and_values(tmp_path: Path) -> None:
    """The script for bash completes the names of commands and options, and the values of those with a choice."""
    assert await shell("bash", ASK_BASH, tmp_path) == [
        "backlog",
        "remove retry resume report",
        "pending running done failed",
        "--lang",
    ]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("name", ["zsh", "fish"])
async def test_other_shells_accept_their_script(tmp_path: Path, name: str) -> None:
    """The scripts for zsh and fish are read without an error."""
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    prepare = {"zsh": "autoload -U compinit; compinit -u -D\n", "fish": ""}[name]
    read = {"zsh": 'eval "$(ekb completion zsh)"', "fish": "ekb completion fish | source"}[name]
    assert (await shell(name, f"{prepare}{read}\necho read\n", tmp_path))[-1] == "read"


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
async def test_each_shell_has_a_script(name: str) -> None:
    """The script names the command and the variable with which it asks."""
    printed = await ekb("completion", name)
    assert printed.status == 0
    assert "_EKB_COMPLETE" in printed.output.decode()


async def test_a_shell_without_a_script() -> None:
    """Another shell is wrong usage: status 2."""
    assert (await ekb("completion", "tcsh")).status == 2


@pytest.mark.process
async def test_descriptions_are_in_the_language_of_the_command() -> None:
    """A shell that shows descriptions gets them in Chinese too."""
    asked = {"_EKB_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "ekb o", "EKB_LANG": "zh"}
    process = await asyncio.create_subprocess_exec(
        *COMMAND, env=environment(None, **asked), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert '"ocr":"识别图片和 PDF 中的发票' in output.decode()
