"""python manage.py verify_invoices FOLDER --staff-id ID"""

import asyncio
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ekb_async import EkbSession, MachinePace, MachineTokens, Outcome, VerifyResult


async def verify(files: list[Path], staff_id: str) -> list[Outcome[Path, VerifyResult]]:
    async with EkbSession.from_env(pacer=MachinePace(), token_store=MachineTokens()) as ekb:
        return [outcome async for outcome in ekb.verify_many(files, staff_id=staff_id)]


class Command(BaseCommand):
    help = "Verify the invoices in a folder."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--staff-id", required=True)

    def handle(self, *_: Any, folder: Path, staff_id: str, **__: Any) -> None:
        outcomes = asyncio.run(verify(sorted(folder.iterdir()), staff_id))
        for outcome in outcomes:  # no loop is running here, so the ORM can be used as usual
            if outcome.result is None:
                self.stderr.write(f"{outcome.input.name}: {outcome.error}")
                continue
            for invoice in outcome.result.invoices:
                self.stdout.write(f"{outcome.input.name} {invoice.id} {invoice.usable} {invoice.form.total}")
        if failed := sum(outcome.error is not None for outcome in outcomes):
            raise CommandError(f"{failed} files could not be verified")  # exit status 1
