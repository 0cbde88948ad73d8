"""The checks of the way to the vendor: proxy, address, certificate; and of this machine's clock."""

from __future__ import annotations

from ekb_async.cli.doctor.contact import clock_error
from ekb_async.cli.doctor.examination import Examination
from ekb_async.cli.doctor.findings import Finding, failed, ok, skipped
from ekb_async.cli.doctor.limits import LIMITS


async def proxy(examination: Examination) -> Finding:
    """Check that the proxy, if the environment names one for this address, forwards requests."""
    contact = await examination.contact()
    if contact.fault is not None and contact.fault.check == "proxy":
        return contact.fault.finding
    return ok(f"{contact.route.proxy} forwards requests" if contact.route.proxy else "none is set for this address")


async def address(examination: Examination) -> Finding:
    """Check that the host exists, accepts connections and answers in HTTP."""
    contact = await examination.contact()
    if contact.fault is not None and contact.fault.check == "address":
        return contact.fault.finding
    if contact.fault is not None:
        return ok(f"{contact.route.host} accepts connections")
    return ok(f"{contact.route.host} answered in {contact.seconds * 1000:.0f} ms")


async def certificate(examination: Examination) -> Finding:
    """Check that the host's certificate is trusted."""
    contact = await examination.contact()
    if contact.fault is not None:
        return contact.fault.finding
    if examination.session.base_url.startswith("http:"):
        return skipped("http:// has none")
    return ok("valid for this host, and of a trusted authority")


async def clock(examination: Examination) -> Finding:
    """Compare this machine's clock with the vendor's."""
    ahead = (await examination.contact()).clock_ahead
    if ahead is None:
        return skipped("the reply has no date")
    if abs(ahead) <= LIMITS.clock_seconds:
        return ok(f"within {LIMITS.clock_seconds:.0f} s of the vendor's")
    advice = (
        "Set this machine's clock. Calls of this package allow for the difference; certificates, and the signed URLs "
        "of other programs, do not."
    )
    return failed(f"this machine's clock is {clock_error(ahead)}", advice)
