"""Commands of Typer with help in the language of the command, each with `--lang`, and usage errors in that language."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from ekb_async.cli.language import OPTION, texts
from ekb_async.cli.location import without_urls
from ekb_async.i18n import LANGUAGES

_USAGE = "Usage: "


class Command(TyperCommand):
    """A command in the language of the command line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _localise(self)

    def get_usage(self, ctx: Any) -> str:
        return _usage(super().get_usage(ctx))

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().make_context(*args, **kwargs)
        except Exception as error:
            _localise_error(error)
            raise


class CommandGroup(TyperGroup):
    """A group of commands in the language of the command line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _localise(self)

    def get_usage(self, ctx: Any) -> str:
        return _usage(super().get_usage(ctx))

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().make_context(*args, **kwargs)
        except Exception as error:
            _localise_error(error)
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            _localise_error(error)
            raise


def _localise(command: Any) -> None:
    """Translate the help of a command and its parameters, and give it the option `--lang`."""
    command.help = command.help and texts(command.help)
    command.epilog = command.epilog and texts(command.epilog)
    for param in command.params:
        param.help = param.help and texts(param.help)
    command.params.append(
        TyperOption(
            param_decls=[OPTION],
            metavar="|".join(LANGUAGES),
            expose_value=False,
            callback=_check_language,
            help=texts("The language of all texts. By default EKB_LANG, else that of the locale."),
        )
    )


def _check_language(_context: Any, _param: Any, value: str | None) -> None:
    if value is not None and value not in LANGUAGES:
        raise typer.BadParameter(texts("must be one of {languages}", languages=", ".join(LANGUAGES)))


def _usage(text: str) -> str:
    return texts("Usage: ") + text.removeprefix(_USAGE)


def _localise_error(error: Exception) -> None:
    """Translate and mask a usage error: a DSN given in the wrong place would be quoted."""
    format_message = getattr(error, "format_message", None)
    if format_message is not None:
        text = texts.rendered(without_urls(format_message()))
        error.format_message = lambda: text  # type: ignore[attr-defined]  # every usage error has it
