"""Commands of Typer in the language of the command: help and usage errors, and options that every command has.

`--lang` and `--verbose` may stand before and after the name of a command. The commands of a group are imported when
they are used: a list of them needs their names and summaries only.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from ekb_async.cli.command_line.log import be_verbose
from ekb_async.cli.language import OPTION, texts
from ekb_async.i18n import LANGUAGES

_USAGE = "Usage: "
_LINE_BREAK = re.compile(r"(?<!\n)\n(?!\n)")
"""A line break within a paragraph: that of the source code, which means nothing on a terminal of another width."""
_OF_PYDANTIC = re.compile(r"\bValue error, ")
"""What Typer 0.29 puts before an error of its own."""


if TYPE_CHECKING:
    _Base = TyperCommand
else:
    # A group is no single command.
    _Base = object


class _Localised(_Base):
    """What commands and groups have in common."""

    def get_usage(self, ctx: Any) -> str:
        return _usage(super().get_usage(ctx))

    def get_help_option(self, ctx: Any) -> Any:
        return _help_option(super().get_help_option(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _prepare_help()
        super().format_help(ctx, formatter)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _localised_errors():
            return super().make_context(*args, **kwargs)


class Command(_Localised, TyperCommand):
    """A command in the language of the command line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _localise(self)


class Entry(NamedTuple):
    """A command of a group: its name, where it is (`module:function` or `module:app`), and its summary.

    The summary is the first paragraph of its help.
    """

    name: str
    place: str
    summary: str


class CommandGroup(_Localised, TyperGroup):
    """A group of commands in the language of the command line."""

    entries: ClassVar[tuple[Entry, ...]] = ()
    """The commands, in the order of the help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.subcommand_metavar = texts("COMMAND [ARGS]...")
        _localise(self)
        self._entries = {each.name: each for each in self.entries}
        for each in self.entries:
            self.commands[each.name] = TyperCommand(each.name, help=texts(each.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that is to run, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, None if name is None or command is None else _imported(self._entries[name]), rest

    def invoke(self, ctx: Any) -> Any:
        with _localised_errors():
            return super().invoke(ctx)


def _imported(entry: Entry) -> Any:
    """Return the command of an entry, made of its function, or of the app of its subcommands."""
    module, _, name = entry.place.partition(":")
    work = getattr(importlib.import_module(module), name)
    if isinstance(work, typer.Typer):
        return get_group(work)
    own = typer.Typer(add_completion=False)
    own.command(entry.name, cls=Command)(_run_to_its_end(work) if inspect.iscoroutinefunction(work) else work)
    return get_command(own)


def _run_to_its_end(work: Callable[..., Any]) -> Callable[..., NoReturn]:
    """Make a function of a coroutine function: it runs it and exits with its status."""
    from ekb_async.cli.runner import finish

    @functools.wraps(work)
    def command(*args: Any, **kwargs: Any) -> NoReturn:
        finish(work(*args, **kwargs))

    return command


@contextmanager
def _localised_errors() -> Iterator[None]:
    """Translate and mask usage errors: a DSN given in the wrong place would be quoted."""
    try:
        yield
    except Exception as error:
        format_message = getattr(error, "format_message", None)
        if format_message is not None:
            from ekb_async.cli.location import without_urls

            text = texts.rendered(_OF_PYDANTIC.sub("", without_urls(format_message()), count=1))
            error.format_message = lambda: text  # type: ignore[attr-defined]  # every usage error has it
        raise


def _localise(command: Any) -> None:
    """Translate the help of a command and its parameters, and give it the options that every command has."""
    command.help = command.help and "\n\n".join(map(texts, _LINE_BREAK.sub(" ", command.help).split("\n\n")))
    command.epilog = command.epilog and texts(command.epilog)
    command.options_metavar = texts("[OPTIONS]")
    for param in command.params:
        param.help = param.help and texts(param.help)
    command.params.extend(_options())


def _options() -> list[Any]:
    """Return the options that every command has, made by Typer itself: what its option classes take changes."""
    own = typer.Typer(add_completion=False)

    @own.command()
    def _(
        verbose: bool = typer.Option(  # noqa: FBT001 - Typer reads the signature
            False,
            "--verbose",
            "-v",
            expose_value=False,
            callback=be_verbose,
            show_default=False,
            help=texts("Log retries, rate limit refusals, new tokens and outages."),
        ),
        lang: str | None = typer.Option(
            None,
            OPTION,
            metavar="|".join(LANGUAGES),
            expose_value=False,
            callback=_check_language,
            help=texts("The language of all texts. By default EKB_LANG, else that of the locale."),
        ),
    ) -> None: ...

    return get_command(own).params


def _check_language(_context: Any, _param: Any, value: str | None) -> None:
    if value is not None and value not in LANGUAGES:
        raise typer.BadParameter(texts("must be one of {languages}", languages=", ".join(LANGUAGES)))


def _help_option(option: Any) -> Any:
    if option is not None:
        option.help = texts("Show this message and exit.")
    return option


def _prepare_help() -> None:
    from ekb_async.cli.command_line.help_tables import fold

    fold()


def _usage(text: str) -> str:
    return texts("Usage: ") + text.removeprefix(_USAGE)
