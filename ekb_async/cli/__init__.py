"""The command `ekb`.

May import `backlog`, `session`, `sandbox` and everything below them.
Begin with `app`, then `calls` and `backlog.commands`; `runner` is how every command ends. The module of a command is
imported when the command is used, so that `ekb --help` and the completion of a shell start quickly.

The command is an extra of the package, so this module imports nothing that the extra installs: without the extra, `ekb`
says what to install. Typer translates some of its own texts when it is imported, so the language is set before. Results
are JSON Lines in UTF-8 on standard output; texts for a person are on standard error.
"""

from __future__ import annotations

import os
import sys

from ekb_async.cli.language import language_of_locale, texts, use_language, wanted_language
from ekb_async.errors import ConfigError

_INTERRUPTED = 130
_USAGE = 2


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    if sys.stderr is None:  # closed by the shell
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the rest of the process
    try:
        _run()
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


def _run() -> None:
    try:
        use_language(language_of_locale())
        use_language(wanted_language(sys.argv[1:]))
        import rich  # noqa: F401  (imported here, so that no other missing module is reported as the extra)
        import typer  # noqa: F401
    except ConfigError as error:
        sys.stderr.write(f"ekb: {texts.rendered(str(error))}\n")
        raise SystemExit(_USAGE) from None
    except ModuleNotFoundError as error:
        sys.stderr.write(
            "ekb: "
            + texts('{name} is not installed. Install the command with: pip install "ekb-async[cli]"', name=error.name)
            + "\n"
        )
        raise SystemExit(_USAGE) from None
    from ekb_async.cli.app import app
    from ekb_async.cli.command_line.completion import PROGRAM, answer_shells
    from ekb_async.cli.output import show_all_characters

    show_all_characters()
    answer_shells()
    try:
        app(prog_name=PROGRAM)
    except ImportError as error:  # of a command, which is imported when it is used
        if error.name != "backoff":
            raise
        sys.stderr.write(f"ekb: {texts.rendered(str(error))}\n")
        raise SystemExit(_USAGE) from None
