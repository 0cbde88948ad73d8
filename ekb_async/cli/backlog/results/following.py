"""`ekb backlog follow`: calls as they end, as JSON Lines."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated

import msgspec
import typer

from ekb_async.backlog import Backlog, Completion
from ekb_async.backlog.store.places import check_version
from ekb_async.cli.backlog.moments import past_moment
from ekb_async.cli.backlog.options import Database, Since, Tenant, check_exists
from ekb_async.cli.location import Location
from ekb_async.cli.output import need_output, utf8_argument, write_line
from ekb_async.cli.runner import ExitStatus
from ekb_async.storage.timing import StorageTiming

After = Annotated[
    str | None, typer.Option("--after", metavar="CURSOR", help="Go on behind the call with this cursor, of any line.")
]


async def follow(
    db: Database,
    after: After = None,
    since: Since = None,
    tenant: Tenant = None,
) -> ExitStatus:
    """Write calls as they end, done or failed, as JSON Lines, until interrupted.

    Each line has a cursor, from which a later command goes on: no call is
    missed, and none comes twice. Without --after, calls come that end from now
    on, or that have ended since a time.
    """
    need_output()
    place = Location(db)
    await check_exists(place)
    # A run of an older version may be at work, and would miss what a newer one changes.
    await check_version(place.where, StorageTiming.from_env())
    moment = None if since is None else past_moment("--since", since)
    async with Backlog.open(place.where) as backlog:
        following = backlog.completions(after, tenant=None if tenant is None else utf8_argument(tenant), since=moment)
        async with aclosing(following) as completions:
            async for completion in completions:
                write_line(_line(completion))
    return ExitStatus.OK


def _line(completion: Completion) -> bytes:
    """Return a line of JSON, without the answer as the vendor wrote it, which an export has."""
    values = msgspec.structs.asdict(completion)
    del values["raw"]
    return msgspec.json.encode(values)
