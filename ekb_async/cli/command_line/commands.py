"""Commands of Typer in the language of the command: help and usage errors, and options that every command has.

`--lang` and `--verbose` may stand before and after the name of a command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ekb_async.cli.language import OPTION, texts
from ekb_async.cli.location import without_urls
from ekb_async.cli.output import LogHandler, log_to_standard_error
from ekb_async.i18n import LANGUAGES

_USAGE = "Usage: "
_LINE_BREAK = re.compile(r"(?<!\n)\n(?!\n)")
"""A line break within a paragraph: that of the source code, which means nothing on a terminal of another width."""
_VERBOSE = "ekb.verbose"
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


class CommandGroup(_Localised, TyperGroup):
    """A group of commands in the language of the command line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.subcommand_metavar = texts("COMMAND [ARGS]...")
        _localise(self)

    def invoke(self, ctx: Any) -> Any:
        with _localised_errors():
            return super().invoke(ctx)


@contextmanager
def _localised_errors() -> Iterator[None]:
    """Translate and mask usage errors: a DSN given in the wrong place would be quoted."""
    try:
        yield
    except Exception as error:
        format_message = getattr(error, "format_message", None)
        if format_message is not None:
            text = texts.rendered(_OF_PYDANTIC.sub("", without_urls(format_message()), count=1))
            error.format_message = lambda: text  # type: ignore[attr-defined]  # every usage error has it
        raise


def _localise(command: Any) -> None:
    """Translate the help of a command and its parameters, and give it the options that every command has."""
    command.help = command.help and texts(_LINE_BREAK.sub(" ", command.help))
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
            callback=_be_verbose,
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


def _be_verbose(context: Any, _param: Any, value: bool) -> None:  # noqa: FBT001 - typer passes it so
    """Log more. Given before the name of the first command, the option is for the handler that is made next."""
    if value:
        context.meta[_VERBOSE] = True
        if (handler := context.find_object(LogHandler)) is not None:
            handler.be_verbose()


def log(context: Any) -> None:
    """Write log lines to standard error until the command ends, as the options say."""
    context.obj = handler = context.with_resource(log_to_standard_error())
    if context.meta.get(_VERBOSE):
        handler.be_verbose()


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
