"""The checks of the way to the vendor: proxy, address, certificate; and of this machine's clock."""

from __future__ import annotations

from ekb_async.cli.doctor.contact import clock_error
from ekb_async.cli.doctor.examination import Examination
from ekb_async.cli.doctor.findings import Finding, failed, ok, skipped
from ekb_async.cli.doctor.limits import LIMITS
from ekb_async.cli.language import texts


async def proxy(examination: Examination) -> Finding:
    """Check that the proxy, if the environment names one for this address, forwards requests."""
    contact = await examination.contact()
    if contact.fault is not None and contact.fault.check == "proxy":
        return contact.fault.finding
    if not contact.route.proxy:
        return ok(texts("none is set for this address"))
    return ok(texts("{proxy} forwards requests", proxy=contact.route.proxy))


async def address(examination: Examination) -> Finding:
    """Check that the host exists, accepts connections and answers in HTTP."""
    contact = await examination.contact()
    if contact.fault is not None and contact.fault.check == "address":
        return contact.fault.finding
    if contact.fault is not None:
        return ok(texts("{host} accepts connections", host=contact.route.host))
    milliseconds = contact.seconds * 1000
    return ok(texts("{host} answered in {milliseconds:.0f} ms", host=contact.route.host, milliseconds=milliseconds))


async def certificate(examination: Examination) -> Finding:
    """Check that the host's certificate is trusted."""
    contact = await examination.contact()
    if contact.fault is not None:
        return contact.fault.finding
    if examination.session.base_url.startswith("http:"):
        return skipped(texts("http:// has none"))
    return ok(texts("valid for this host, and of a trusted authority"))


async def clock(examination: Examination) -> Finding:
    """Compare this machine's clock with the vendor's."""
    ahead = (await examination.contact()).clock_ahead
    if ahead is None:
        return skipped(texts("the reply has no date"))
    if abs(ahead) <= LIMITS.clock_seconds:
        return ok(texts("within {seconds:.0f} s of the vendor's", seconds=LIMITS.clock_seconds))
    advice = texts(
        "Set this machine's clock. Calls of this package allow for the difference; certificates, and the signed URLs "
        "of other programs, do not."
    )
    return failed(clock_error(ahead), advice)
