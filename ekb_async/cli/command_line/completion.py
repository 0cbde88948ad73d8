"""`ekb completion`: the script with which a shell completes commands and options.

The script calls `ekb` with a variable of its own, which Typer answers. No option writes into the start-up files of a
shell: what they contain is for their user to decide.
"""

from __future__ import annotations

import enum
import os
from typing import Annotated

import typer
from typer.completion import completion_init, get_completion_script  # type: ignore[attr-defined]  # not in __all__

PROGRAM = "ekb"
_VARIABLE = "_EKB_COMPLETE"

Shell = enum.StrEnum("Shell", ["BASH", "ZSH", "FISH"])
ShellName = Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="The shell.")]


def completion(shell: ShellName) -> None:
    """Print the script with which a shell completes the commands and options of ekb.

    For bash, write eval "$(ekb completion bash)" into ~/.bashrc; for zsh, the same with zsh into ~/.zshrc, after
    compinit. For fish, write ekb completion fish | source into ~/.config/fish/config.fish.
    """
    typer.echo(get_completion_script(prog_name=PROGRAM, complete_var=_VARIABLE, shell=str(shell)))


def answer_shells() -> None:
    """Prepare for the question of a script, if this process was started by one."""
    if _VARIABLE in os.environ:
        completion_init()
