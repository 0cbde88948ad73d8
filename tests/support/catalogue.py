"""The texts that the catalogue must have; `python -m tests.support.catalogue` updates the catalogue.

They are those in the code, the help of the command, those of Typer, and those of the system that messages quote.
"""

from __future__ import annotations

import ast
import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

import ekb_async
from ekb_async.i18n.rendered import CONTEXT
from tests.support.command_tree import command_tree
from tests.support.system_texts import SYSTEM
from tests.support.texts_in_code import Key, texts_in

PACKAGE = Path(ekb_async.__file__).parent
CATALOGUE = PACKAGE / "i18n" / "zh" / "LC_MESSAGES" / "ekb.po"
COMPILED = CATALOGUE.with_suffix(".mo")

_OTHER_ROOMS = ("sandbox/vendor", "sandbox/pytest_plugin", "ext/otel", "backlog/metrics/series", "models/documents")
"""What has no text for a person: the sandbox answers as the vendor does, a program shows its own measures, and some
fields of models are called `texts`.
"""

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
    "Choose from:",
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
    "Input should be a valid integer, unable to parse string as an integer",
    "Input should be a valid number, unable to parse string as a number",
    "Input should be greater than or equal to {0}",
    "Input should be less than or equal to {0}",
    "Got unexpected extra argument(s) ({0})",
    "{0} is not a valid integer.",
    "{0} is not a valid float.",
    "{0} is not a valid integer range.",
    "{0} is not a valid float range.",
    "{0} is not a valid int.",
    "{0} is not a valid int range.",
    "{0} is not in the range {1}.",
    "{0} is not one of {1}.",
    "{0} does not match the format {1}.",
    "{0} does not match the formats {1}.",
)
"""Texts of Typer's errors."""


def texts_of_package() -> set[Key]:
    """Return all texts that the catalogue must have."""
    helps: set[Key] = {(None, text) for _, command in command_tree() for text in _texts_of_command(command)}
    found: set[Key] = {(CONTEXT, text) for text in (*_USAGE_ERRORS, *SYSTEM)}
    for path in sorted(PACKAGE.rglob("*.py")):
        if not path.relative_to(PACKAGE).as_posix().startswith(_OTHER_ROOMS) and not path.stem.endswith("sql"):
            found |= set(texts_in(ast.parse(path.read_text(encoding="utf-8"))))
    found -= {(CONTEXT, text) for _, text in helps}
    return found | helps | {(None, text) for text in _TYPER}


def _texts_of_command(command: Any) -> Iterator[str]:
    """Yield the paragraphs of the help of a command, and the texts of its parameters."""
    helps = (getattr(param, "help", None) for param in command.params)
    yield from filter(None, (*(command.help or "").split("\n\n"), command.epilog, *helps))


_DATE = datetime(2026, 11, 28, tzinfo=UTC)


def read_catalogue() -> Catalog:
    """Return the catalogue as it is written."""
    with CATALOGUE.open("rb") as file:
        return read_po(file, locale="zh")


def entries(catalogue: Catalog) -> dict[Key, Any]:
    """Return the texts of the catalogue and their Chinese."""
    return {(each.context, _forms(each.id)): _forms(each.string) for each in catalogue if each.id}


def _forms(text: Any) -> Any:
    """Return a text, or its forms for one and for several as a tuple."""
    return text if isinstance(text, str) else tuple(text)


def compiled(catalogue: Catalog) -> bytes:
    """Return the compiled form of a catalogue."""
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def _new_catalogue() -> Catalog:
    # A fixed date, so that equal texts are equal files.
    return Catalog(
        locale="zh", project="ekb_async", charset="utf-8", fuzzy=False, creation_date=_DATE, revision_date=_DATE
    )


def update() -> None:
    """Write the catalogue with the texts of today, and what is compiled of it; say which have no Chinese yet."""
    known = entries(read_catalogue()) if CATALOGUE.exists() else {}
    catalogue = _new_catalogue()
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
    COMPILED.write_bytes(compiled(read_catalogue()))


if __name__ == "__main__":
    update()
