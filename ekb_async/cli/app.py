"""The subcommands of `ekb`."""

from __future__ import annotations

from typing import Annotated

import typer

from ekb_async import __version__
from ekb_async.cli.command_line import CommandGroup, Entry, log

_EPILOG = (
    "Credentials are read from the environment: EKB_APP_KEY and EKB_APP_SECURITY, or EKB_ACCESS_TOKEN. EKB_BASE_URL is "
    "the address of your platform. EKB_ALLOW_HTTP=1 allows http:// to hosts other than this machine. Proxies and "
    "certificate authorities are taken from HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and REQUESTS_CA_BUNDLE.\n\n"
    "Exit status: 0 success, 1 some calls failed, 2 wrong usage or settings, 3 every further call would fail "
    "(wrong keys or missing permission), 130 interrupted."
)


class _Commands(CommandGroup):
    entries = (
        Entry(
            "demo",
            "ekb_async.cli.demo.command:demo",
            "Recognise and verify a sample backlog on this machine. No account is needed.",
        ),
        Entry(
            "doctor",
            "ekb_async.cli.doctor.command:doctor",
            "Check network, keys, licences and this machine, and name what is wrong.",
        ),
        Entry("ocr", "ekb_async.cli.calls:ocr", "Recognise invoices in images and PDFs. Every call is billed."),
        Entry(
            "verify",
            "ekb_async.cli.calls:verify",
            "Recognise invoices and verify them with the tax authority. Every call is billed.",
        ),
        Entry(
            "urls",
            "ekb_async.cli.calls:urls",
            "Print the download URLs of invoice files. They are valid for an hour.",
        ),
        Entry("details", "ekb_async.cli.calls:details", "Print the lines of invoices."),
        Entry(
            "read",
            "ekb_async.cli.read:read",
            "Read what invoice files say about themselves. Nothing is sent, verified or billed.",
        ),
        Entry(
            "sandbox",
            "ekb_async.cli.sandbox.command:sandbox",
            "Run a local stand-in for the vendor, with a few records, until Ctrl-C. Its keys are not secret.",
        ),
        Entry(
            "completion",
            "ekb_async.cli.command_line.completion:completion",
            "Print the script with which a shell completes the commands and options of ekb.",
        ),
        Entry(
            "backlog",
            "ekb_async.cli.backlog.commands:app",
            "Process many invoices over many runs. A row is paid for once, unless the answer of a call was lost.",
        ),
    )


app = typer.Typer(
    help="Invoices of Ekuaibao / Hesi (易快报 / 合思): OCR, verification, file URLs and lines, within the rate limits.",
    epilog=_EPILOG,
    no_args_is_help=True,
    cls=_Commands,
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
