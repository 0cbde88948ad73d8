"""The command `ekb`.

It is an extra of the package, so this module imports nothing that the extra brings: without it `ekb` says what to
install. Results are JSON Lines in UTF-8 on standard output, everything meant for a person is on standard error.
"""

from __future__ import annotations

import os
import sys

_INTERRUPTED = 130
_USAGE = 2


def main() -> None:
    """Runs the command with the arguments of this process, and exits."""
    if sys.stderr is None:  # closed by the shell
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the rest of the process
    try:
        _run()
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


def _run() -> None:
    try:
        import rich  # noqa: F401  (asked for here, so that only its absence is taken for a missing extra)
        import typer  # noqa: F401
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f'ekb: {error.name} is not installed. Install the command with: pip install "ekb-async[cli]"\n'
        )
        raise SystemExit(_USAGE) from None
    try:
        from ekb_async.cli.app import app
        from ekb_async.cli.encoding import show_all_characters
    except ImportError as error:
        if error.name != "backoff":
            raise
        sys.stderr.write(f"ekb: {error}\n")
        raise SystemExit(_USAGE) from None

    show_all_characters()
    app(prog_name="ekb")
