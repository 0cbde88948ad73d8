"""What calls and rows wait for, in words."""

from __future__ import annotations

from ekb_async.backlog import Wait
from ekb_async.cli.language import texts

_OF_ROWS = {"refused_person", "another_day", "held", "budget"}


def wait_text(wait: Wait) -> str:
    """Return what waits for what, as one label."""
    text = texts.rendered(wait.text)
    match wait.reason:
        case "vendor" if text:
            return texts("waiting for the vendor: {text}", text=text)
        case "storage":
            return texts("waiting for the backlog: {text}", text=text)
        case "other_run":
            return texts("waiting for another run, which has the rest")
        case "throttled":
            return texts("slower than allowed: the vendor refused calls for their rate")
        case "pace":
            return texts("slower than allowed: other programs use the same pace")
        case _:
            return _rows_text(wait, text) if wait.reason in _OF_ROWS else _calls_text(wait)


def _rows_text(wait: Wait, text: str) -> str:
    """Return how many rows wait, and for whom or until when."""
    until = "" if wait.until is None else f"{wait.until:%Y-%m-%d %H:%M}"
    match wait.reason:
        case "refused_person":
            return texts(
                "{count:,} row waits: the vendor refused its staff_id {text}",
                "{count:,} rows wait: the vendor refused their staff_id {text}",
                count=wait.rows,
                text=text,
            )
        case "another_day":
            return texts(
                "{count:,} row waits for another day, until {until} (UTC+8)",
                "{count:,} rows wait for another day, until {until} (UTC+8)",
                count=wait.rows,
                until=until,
            )
        case "budget":
            return texts(
                "{count:,} row waits until {until} (UTC+8): a budget of billed calls is spent",
                "{count:,} rows wait until {until} (UTC+8): a budget of billed calls is spent",
                count=wait.rows,
                until=until,
            )
        case _:
            return texts(
                "{count:,} row is held until a person resumes it",
                "{count:,} rows are held until a person resumes them",
                count=wait.rows,
            )


def _calls_text(wait: Wait) -> str:
    """Return how many calls wait, and for what."""
    count = wait.calls
    match wait.reason:
        case "answers":
            return texts(
                "{count:,} call waits for the answers of earlier ones",
                "{count:,} calls wait for the answers of earlier ones",
                count=count,
            )
        case "file":
            return texts("{count:,} call waits for its file", "{count:,} calls wait for their files", count=count)
        case "person":
            return texts(
                "{count:,} call waits until its person is found",
                "{count:,} calls wait until their people are found",
                count=count,
            )
        case "ledger":
            return texts("{count:,} call waits for the ledger", "{count:,} calls wait for the ledger", count=count)
        case "directory":
            return texts(
                "{count:,} download waits for a folder: --files DIR",
                "{count:,} downloads wait for a folder: --files DIR",
                count=count,
            )
        case _:
            return texts("{count:,} call waits to be made again", "{count:,} calls wait to be made again", count=count)
