"""The command `ekb doctor`, and its checks in their order."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ekb_async.aio.tasks import in_thread
from ekb_async.cli.doctor.checks import account, enterprise, machine, network, ocr
from ekb_async.cli.doctor.examination import Examination, Options
from ekb_async.cli.doctor.findings import Check, Finding, findings
from ekb_async.cli.doctor.limits import LIMITS
from ekb_async.cli.doctor.report import Lines, write_json
from ekb_async.cli.language import texts
from ekb_async.cli.output import need_output, readable, say, utf8_argument
from ekb_async.cli.runner import ExitStatus, finish, message_of
from ekb_async.client.capture.bundle import check_empty

if TYPE_CHECKING:
    from ekb_async.client.capture.transport import CapturingTransport

CHECKS = (
    Check("settings", account.settings),
    Check("proxy", network.proxy, needs=("settings",)),
    Check("address", network.address, needs=("proxy",)),
    Check("certificate", network.certificate, needs=("address",)),
    Check("platform", account.platform, needs=("certificate",)),
    Check("keys", account.keys, needs=("platform",)),
    Check("clock", network.clock, needs=("certificate",)),
    Check("ocr_licence", enterprise.ocr_licence, needs=("keys",)),
    Check("interface_licence", enterprise.interface_licence, needs=("keys",)),
    Check("staff", enterprise.staff, needs=("keys", "interface_licence")),
    Check("state_directory", machine.state),
    Check("extras", machine.extras),
    Check("ocr_call", ocr.call, needs=("keys", "interface_licence", "ocr_licence", "state_directory")),
)
"""A proxy comes before the address, and the certificate after it, as on the way to the vendor."""

CorporationId = Annotated[
    str, typer.Option(help="ID of the corporation, to compare the platform. By default that of the token is used.")
]
StaffId = Annotated[str, typer.Option(help="Check that this staff ID exists and is active: corp:staff.")]
Paid = Annotated[bool, typer.Option("--paid", help="Also make one OCR call of a built-in image. It is billed.")]
CaptureDir = Annotated[
    Path | None,
    typer.Option(
        "--capture", metavar="DIR", help="Write all calls, masked, to a new directory as a bundle for a bug report."
    ),
]
Timeout = Annotated[float, typer.Option(min=0.1, max=600, help="Seconds for each step on the network.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def doctor(
    *,
    corporation_id: CorporationId = "",
    staff_id: StaffId = "",
    paid: Paid = False,
    timeout: Timeout = LIMITS.timeout_seconds,
    json: Json = False,
    capture: CaptureDir = None,
) -> None:
    """Check network, keys, licences and this machine, and name what is wrong.

    Nothing is billed without --paid. Whether verification is permitted shows only in a verification.

    Exit status: 0 all well; 1 network, certificate, clock or state directory; 2 a wrong setting (address, platform,
    proxy's name or login, staff ID); 3 keys, permission or licence. A warning changes nothing.
    """
    finish(_examine(corporation_id, staff_id, capture, paid=paid, timeout=timeout, as_json=json))


async def _examine(
    corporation_id: str, staff_id: str, capture: Path | None, *, paid: bool, timeout: float, as_json: bool
) -> ExitStatus:
    need_output()
    options = Options(
        corporation=utf8_argument(corporation_id).strip(),
        staff_id=utf8_argument(staff_id).strip(),
        is_paid=paid,
        timeout=timeout,
        capture=capture,
    )
    if capture is not None:
        await in_thread(check_empty, capture)
    found: dict[str, Finding] = {}
    lines = None if as_json else Lines(check.name for check in CHECKS)
    async with Examination(options) as examination, aclosing(findings(CHECKS, examination)) as results:
        async for name, finding in results:
            found[name] = finding
            if lines is not None:
                lines.show(name, finding)
    if as_json:
        write_json(found)
    if examination.captured is not None:
        _say_what_was_captured(examination.captured)
    return max(finding.status for finding in found.values())


def _say_what_was_captured(capture: CapturingTransport) -> None:
    if capture.problem is not None:
        say(texts("The bundle is incomplete: {reason}", reason=message_of(capture.problem)))
        return
    say(
        texts(
            "{directory} has {count:,} exchange, without secrets and personal data. Look at it before you pass it on.",
            "{directory} has {count:,} exchanges, without secrets and personal data. "
            "Look at them before you pass them on.",
            directory=readable(str(capture.directory)),
            count=capture.captured.exchanges,
        )
    )
