"""What the command adds to Typer: both languages, options that every command has, and the completion of shells.

Begin with `commands`.
"""

from ekb_async.cli.command_line.commands import CommandGroup, Entry
from ekb_async.cli.command_line.log import log

__all__ = ["CommandGroup", "Entry", "log"]
