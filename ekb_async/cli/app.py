"""The subcommands of `ekb`."""

from __future__ import annotations

from typing import Annotated

import typer

from ekb_async import __version__
from ekb_async.cli import calls, read
from ekb_async.cli.backlog import commands as backlog
from ekb_async.cli.command_line import Command, CommandGroup, log
from ekb_async.cli.command_line.completion import completion
from ekb_async.cli.demo.command import demo
from ekb_async.cli.doctor.command import doctor
from ekb_async.cli.sandbox.command import sandbox

_EPILOG = (
    "Credentials are read from the environment: EKB_APP_KEY and EKB_APP_SECURITY, or EKB_ACCESS_TOKEN. EKB_BASE_URL is "
    "the address of your platform. EKB_ALLOW_HTTP=1 allows http:// to hosts other than this machine. Proxies and "
    "certificate authorities are taken from HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and REQUESTS_CA_BUNDLE.\n\n"
    "Exit status: 0 success, 1 some calls failed, 2 wrong usage or settings, 3 every further call would fail "
    "(wrong keys or missing permission), 130 interrupted."
)

app = typer.Typer(
    help="Invoices of Ekuaibao / Hesi (易快报 / 合思): OCR, verification, file URLs and lines, within the rate limits.",
    epilog=_EPILOG,
    no_args_is_help=True,
    cls=CommandGroup,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer passes it so
    if wanted:
        typer.echo(f"ekb {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    log(context)


app.command(cls=Command)(demo)
app.command(cls=Command)(doctor)
app.command(cls=Command)(calls.ocr)
app.command(cls=Command)(calls.verify)
app.command(cls=Command)(calls.urls)
app.command(cls=Command)(calls.details)
app.command(cls=Command)(read.read)
app.add_typer(backlog.app, name="backlog")
app.command(cls=Command)(sandbox)
app.command(cls=Command)(completion)
