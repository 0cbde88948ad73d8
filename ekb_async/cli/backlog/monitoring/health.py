"""`ekb backlog health`: what is wrong with a backlog, one line each, for probes and alerts."""

from __future__ import annotations

import asyncio
import enum
import re
import sys
from typing import Annotated, Any

import msgspec
import typer

from ekb_async.backlog import BacklogHealth, BacklogTiming, HealthProblem
from ekb_async.cli.backlog.options import AsJson, Database, looked_at
from ekb_async.cli.language import texts
from ekb_async.cli.location import Location
from ekb_async.cli.output import need_output, shown, write_line
from ekb_async.cli.runner import ExitStatus, message_of
from ekb_async.errors import ConfigError, EkbConnectionError, StorageError

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,9})([smhd]?)")

Only = enum.StrEnum("Only", ["RUNS", "AGE", "UNCONFIRMED", "TENANTS"])

MaxAge = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="How long a call may be ready without being made, such as 90s, 10m, 6h, 2d."),
]
NeedRun = Annotated[bool, typer.Option("--need-run", help="A run or worker must be alive.")]
OnThisHost = Annotated[bool, typer.Option("--on-this-host", help="A run or worker on this host must be alive.")]
OnlyOption = Annotated[
    list[Only] | None, typer.Option("--only", help="Look at nothing else; may be given several times.")
]
Timeout = Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds that all of it may take.")]


async def health(
    db: Database,
    max_age: MaxAge = None,
    need_run: NeedRun = False,
    on_this_host: OnThisHost = False,
    only: OnlyOption = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> ExitStatus:
    """Say what is wrong, one line each; exit with 0 if nothing is, with 1 otherwise. Nothing is created or changed."""
    need_output()
    place = Location(db)
    _check_rules(only or [], needs_run=need_run or on_this_host, max_age=max_age)
    age = None if max_age is None else seconds_of("--max-age", max_age)
    found = await _examined(place, timeout, max_age=age, need_run=need_run, on_this_host=on_this_host)
    if only:
        kept = [each for each in found.problems if each.check in {"backlog", *only}]
        found = msgspec.structs.replace(found, problems=tuple(kept))
    if as_json:
        problems = [msgspec.structs.replace(each, text=texts.rendered(each.text)) for each in found.problems]
        write_line(msgspec.json.encode(msgspec.structs.replace(found, problems=tuple(problems))))
    else:
        lines = [texts.rendered(each.text) for each in found.problems] or [_well(found)]
        sys.stdout.write("".join(f"{shown(line)}\n" for line in lines))
    return ExitStatus.OK if found.is_well else ExitStatus.SOME_FAILED


def _check_rules(only: list[Only], *, needs_run: bool, max_age: str | None) -> None:
    """Raise `ConfigError` if a check has no rule, or a rule no check: such a probe would find nothing, ever."""
    for check, given, options in (
        (Only.RUNS, needs_run, "--need-run or --on-this-host"),
        (Only.AGE, max_age is not None, "--max-age"),
    ):
        if check in only and not given:
            raise ConfigError(f"--only {check} needs {options}")
        if only and given and check not in only:
            raise ConfigError(f"{options} has no effect without --only {check}")


async def _examined(place: Location, timeout: float, **rules: Any) -> BacklogHealth:
    """Return the health of a backlog; one that cannot be read in time is a problem too."""
    # What is away may be back at once, but there must be time left to say so.
    patience = timeout / 2
    timing = msgspec.structs.replace(
        BacklogTiming.from_env(), setup_patience=patience, patience=patience, lock_wait=min(0.1, patience)
    )
    try:
        async with asyncio.timeout(timeout), looked_at(place, timing) as backlog:
            return await backlog.health(**rules)
    except TimeoutError:
        text = f"the backlog has not answered within {timeout:g} s"
    except (EkbConnectionError, StorageError) as error:
        text = message_of(error)
    return BacklogHealth(backlog=str(place), problems=(HealthProblem(check="backlog", text=text),))


def seconds_of(option: str, text: str) -> float:
    """Return a duration such as 10m in seconds. Raises `ConfigError` naming the option for anything else."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{option} {text}: give a whole number with s, m, h or d, such as 10m")
    return float(int(found[1]) * _SECONDS[found[2]])


def _well(found: BacklogHealth) -> str:
    return texts(
        "Nothing is wrong. {count:,} run or worker is alive.",
        "Nothing is wrong. {count:,} runs and workers are alive.",
        count=found.runs,
    )
