"""Writes the help of every command, and its usual usage errors, as one JSON object.

Typer takes some of its texts in the language of the moment when it is imported, so each language needs a process.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from typing import Any

from ekb_async.cli import main
from tests.support.command_tree import command_tree

_REFUSED = ("no-such-value", "")
"""Values that options with a number or a choice refuse."""
_FREE_TYPES = {"StringParamType", "Path", "TyperPath", "FuncParamType"}


def _run(*arguments: str) -> str:
    written = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    sys.argv = ["ekb", *arguments]
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written), contextlib.suppress(SystemExit):
        main()
    buffer = written.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def _usages(path: tuple[str, ...], command: Any) -> Iterator[tuple[str, ...]]:
    yield (*path, "--help")
    yield (*path, "--no-such-option")
    yield (*path, "--lang", "fr")
    if getattr(command, "commands", None):
        yield path
        yield (*path, "no-such-command")
        return
    required = [param for param in command.params if param.required]
    if not required:
        # It would do what it is for.
        return
    yield path
    given = ["x" for param in required if param.param_type_name == "argument"]
    if all(param.nargs == 1 for param in required):
        yield (*path, *given, "1", "2")
    for param in command.params:
        if param.param_type_name == "option" and not param.is_flag:
            yield (*path, *given, param.opts[0])
            if type(param.type).__name__ not in _FREE_TYPES:
                yield from ((*path, *given, param.opts[0], value) for value in _REFUSED)


def _main() -> None:
    found = {}
    _run("--help")
    for path, command in command_tree():
        for usage in _usages(path, command):
            found[" ".join(usage) or "ekb"] = _run(*usage)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    _main()
