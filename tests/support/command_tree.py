"""All commands of `ekb`, with those of its groups, as Typer makes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def command_tree() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the names and the object of each command, a group before its commands."""
    from typer.main import get_command

    from ekb_async.cli.app import app

    yield from _commands(get_command(app))


def _commands(command: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield names, command
    if hasattr(command, "resolve_command"):
        context = command.make_context("ekb", [], resilient_parsing=True)
        for name in command.list_commands(context):
            _, found, _ = command.resolve_command(context, [name])
            yield from _commands(found, *names, name)
