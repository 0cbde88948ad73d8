"""What the command adds to Typer: both languages, options that every command has, and the completion of shells.

Begin with `commands`.
"""

from ekb_async.cli.command_line.commands import Command, CommandGroup, log

__all__ = ["Command", "CommandGroup", "log"]
