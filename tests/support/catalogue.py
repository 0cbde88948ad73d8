"""The texts that the catalogue must have, found in the code; `python -m tests.support.catalogue` updates the catalogue.

Texts that are shown where they are written are arguments of `Texts`. All other English texts of the package (errors,
hints, warnings, log lines) are found by what they are: a literal with two English words in a row, that is neither a
docstring nor SQL. Values in f-strings, and `%s` of log lines, become `{0}`, `{1}`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from typer.main import get_command

import ekb_async
from ekb_async.cli.app import app
from ekb_async.i18n.rendered import CONTEXT

PACKAGE = Path(ekb_async.__file__).parent
CATALOGUE = PACKAGE / "i18n" / "zh" / "LC_MESSAGES" / "ekb.po"
COMPILED = CATALOGUE.with_suffix(".mo")

Key = tuple[str | None, Any]
"""The context of a text, and the text, or its singular and plural."""

_ENGLISH = re.compile(r"[A-Za-z]{2,}[,:;]? [a-z]{2,}")
_SQL = re.compile(r"\b(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|PRAGMA|BEGIN|WHERE|SET|LISTEN|REFERENCES)\b")
_OTHER_ROOMS = ("sandbox", "i18n", "einvoice/formats", "ext")
"""What has no text for the user of the command, but for the errors of the sandbox."""
_PERCENT = re.compile(r"%(?:\.\d+)?[sdrfg]")
_TEXTS = {"texts", "_texts"}
_WORDS = {"word"}


_TYPER = (
    "(deprecated) ",
    "[default: {}]",
    "[env var: {}]",
    "[required]",
    "Arguments",
    "Options",
    "Commands",
    "Error",
    "Aborted.",
    "Try [blue]'{command_path} {help_option}'[/] for help.",
)
"""Texts that Typer takes from the catalogue."""
_USAGE_ERRORS = (
    "Error: {0}",
    "Invalid value: {0}",
    "Invalid value for {0}: {1}",
    "Missing argument {0}.",
    "Missing argument {0}. {1}",
    "Missing option {0}.",
    "Missing command.",
    "No such command {0}.",
    "No such command {0}. Did you mean {1}?",
    "No such option: {0}",
    "No such option: {0} (Possible options: {1})",
    "No such option: {0} Did you mean {1}?",
    "Option {0} does not take a value.",
    "Option {0} requires an argument.",
    "Option {0} requires {1} arguments.",
    "Got unexpected extra argument ({0})",
    "Got unexpected extra arguments ({0})",
    "{0} is not a valid integer.",
    "{0} is not a valid float.",
    "{0} is not a valid integer range.",
    "{0} is not in the range {1}.",
    "{0} is not one of {1}.",
    "{0} does not match the format {1}.",
    "{0} does not match the formats {1}.",
)
"""Texts of Typer's errors."""


def texts_of_package() -> set[Key]:
    """Return all texts that the catalogue must have."""
    found = set(_texts_of_command(get_command(app))) | {(None, text) for text in _TYPER}
    found |= {(CONTEXT, text) for text in _USAGE_ERRORS}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= set(_shown_texts(tree))
        room = path.relative_to(PACKAGE).as_posix()
        if not room.startswith(_OTHER_ROOMS) and "sql" not in path.stem:
            found |= {(CONTEXT, text) for text in _english_texts(tree)}
    return found


def _texts_of_command(command: Any) -> Iterator[Key]:
    """Yield the help of a command, of its parameters and of its subcommands."""
    for text in (command.help, command.epilog, *(getattr(param, "help", None) for param in command.params)):
        if text:
            yield None, text
    for each in getattr(command, "commands", {}).values():
        yield from _texts_of_command(each)


def _shown_texts(tree: ast.AST) -> Iterator[Key]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        arguments = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        name = _name(node.func)
        if name in _TEXTS and arguments:
            yield None, arguments[0] if len(arguments) == 1 else (arguments[0], arguments[1])
        elif name in _WORDS and len(arguments) == 2:
            yield arguments[0], arguments[1]
        elif name == "message" and arguments:
            yield CONTEXT, arguments[0].replace("{", "{{").replace("}", "}}")


def _name(function: ast.expr) -> str:
    return str(getattr(function, "id", "") or getattr(function, "attr", ""))


def _english_texts(tree: ast.AST) -> Iterator[str]:
    """Yield the literals that are English texts for a person, as templates."""
    skipped = set(_skipped(tree))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            text = _template(node)
            skipped |= {id(each) for each in node.values}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = _escaped(node.value)
            text = _numbered(text) if _PERCENT.search(text) else text
        else:
            continue
        if _ENGLISH.search(text) and not _SQL.search(text):
            yield text


def _skipped(tree: ast.AST) -> Iterator[int]:
    """Yield the nodes that are no such text: docstrings, arguments of `Texts`, help of options, annotations."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield id(node.value)
        elif isinstance(node, ast.Call):
            name = _name(node.func)
            if name in _TEXTS | _WORDS:
                yield from map(id, node.args)
            elif name in {"Option", "Argument", "Typer", "deprecated", "warn_renamed", "compile", "NewType"}:
                yield from (id(each) for argument in node.args for each in ast.walk(argument))
                yield from (id(each) for keyword in node.keywords for each in ast.walk(keyword.value))
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and _name(node.exc.func) in _PROGRAMMING:
            yield from (id(each) for each in ast.walk(node.exc))


_PROGRAMMING = {"RuntimeError", "AssertionError", "TypeError", "AttributeError", "NotImplementedError"}
"""Mistakes of a program that calls the package, which end in a traceback."""


def _template(node: ast.JoinedStr) -> str:
    pieces, count = [], 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            pieces.append(_escaped(str(part.value)))
        else:
            pieces.append(f"{{{count}}}")
            count += 1
    return "".join(pieces)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _numbered(text: str) -> str:
    count = iter(range(100))
    return _PERCENT.sub(lambda _: f"{{{next(count)}}}", text)


def read_catalogue() -> Catalog:
    """Return the catalogue as it is written."""
    with CATALOGUE.open("rb") as file:
        return read_po(file, locale="zh")


def entries(catalogue: Catalog) -> dict[Key, Any]:
    """Return the texts of the catalogue and their Chinese."""
    return {(each.context, each.id): each.string for each in catalogue if each.id}


def update() -> None:
    """Write the catalogue with the texts of today, and what is compiled of it; say which have no Chinese yet."""
    known = entries(read_catalogue()) if CATALOGUE.exists() else {}
    catalogue = Catalog(locale="zh", project="ekb_async", charset="utf-8", fuzzy=False)
    for context, text in sorted(texts_of_package(), key=lambda key: (key[0] or "", str(key[1]))):
        catalogue.add(text, known.get((context, text)) or "", context=context)
    write(catalogue)
    for each in catalogue:
        if each.id and not "".join(each.string or ()):
            print(f"no Chinese: {each.context or '-'}: {each.id}", file=sys.stderr)  # noqa: T201


def write(catalogue: Catalog) -> None:
    """Write the catalogue and compile it."""
    catalogue._header_comment = "# The texts of ekb_async in Chinese. Written by: python -m tests.support.catalogue"
    with CATALOGUE.open("wb") as file:
        write_po(file, catalogue, sort_output=False, omit_header=False, width=110, include_lineno=False)
    with COMPILED.open("wb") as file:
        write_mo(file, catalogue)


if __name__ == "__main__":
    update()
