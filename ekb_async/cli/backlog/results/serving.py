"""`ekb backlog serve`: the page of a backlog in a browser, kept up to date while a run is at work."""

from __future__ import annotations

from typing import Annotated

import typer

from ekb_async.backlog.results.live import LiveBacklog
from ekb_async.cli.backlog.options import Database, check_exists
from ekb_async.cli.backlog.results.reporting import Title
from ekb_async.cli.language import texts
from ekb_async.cli.location import Location
from ekb_async.cli.output import say, utf8_argument
from ekb_async.cli.runner import ExitStatus
from ekb_async.validation import checked_text

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 selects a free one.")]


async def serve(db: Database, port: Port = 0, title: Title = None) -> ExitStatus:
    """Show the page of `report` in a browser on this machine, kept up to date while a run is at work, until Ctrl-C.

    The backlog is only read, and runs are not slowed down. Other machines cannot reach the page.
    """
    # A web server takes time to load, and no other command of a backlog needs one.
    from ekb_async.cli.backlog.results.live_page import LivePage
    from ekb_async.cli.backlog.results.page_server import PageServer

    place = Location(db)
    title = None if title is None else checked_text("title", utf8_argument(title))
    await check_exists(place)
    page = LivePage(LiveBacklog(place.where), title)
    await page.first()
    async with PageServer(page.page).listening(port) as url:
        say(texts("The page is at {url} until Ctrl-C.", url=url))
        await page.keep()
    return ExitStatus.OK
