"""What calls and rows wait for, in words."""

from __future__ import annotations

from ekb_async.backlog import Wait
from ekb_async.cli.language import texts


def wait_text(wait: Wait) -> str:
    """Return what waits for what, as one label."""
    number, text = wait.calls or wait.rows, wait.text
    until = "" if wait.until is None else f"{wait.until:%Y-%m-%d %H:%M}"
    again = _of(number, f"{number:,} call waits to be made again", f"{number:,} calls wait to be made again")
    english = {
        "vendor": f"waiting for the vendor: {text}" if text else again,
        "storage": f"waiting for the backlog: {text}",
        "other_run": "waiting for another run, which has the rest",
        "throttled": "slower than allowed: the vendor refused calls for their rate",
        "pace": "slower than allowed: other programs use the same pace",
        "answers": _of(
            number,
            f"{number:,} call waits for the answers of earlier ones",
            f"{number:,} calls wait for the answers of earlier ones",
        ),
        "file": _of(number, f"{number:,} call waits for its file", f"{number:,} calls wait for their files"),
        "person": _of(
            number,
            f"{number:,} call waits until its person is found",
            f"{number:,} calls wait until their people are found",
        ),
        "ledger": _of(number, f"{number:,} call waits for the ledger", f"{number:,} calls wait for the ledger"),
        "refused_person": _of(
            number,
            f"{number:,} row waits: the vendor refused its staff_id {text}",
            f"{number:,} rows wait: the vendor refused their staff_id {text}",
        ),
        "another_day": _of(
            number,
            f"{number:,} row waits for another day, until {until} (UTC+8)",
            f"{number:,} rows wait for another day, until {until} (UTC+8)",
        ),
        "directory": _of(
            number,
            f"{number:,} download waits for a folder: --files DIR",
            f"{number:,} downloads wait for a folder: --files DIR",
        ),
    }[wait.reason]
    return texts.rendered(english)


def _of(number: int, of_one: str, of_several: str) -> str:
    return of_one if number == 1 else of_several
