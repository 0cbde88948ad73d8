"""Print what is on invoices, one line each: python script.py FILE…"""

import asyncio
import sys
from pathlib import Path

from ekb_async import EkbSession, MachinePace, OcrResult, Outcome


async def recognise(files: list[Path]) -> int:
    status = 0
    async with EkbSession.from_env(pacer=MachinePace()) as ekb:
        async for outcome in ekb.ocr_many(files):
            show(outcome)  # at once, since it is billed: what was only kept would be lost with Ctrl-C
            status |= int(outcome.result is None)
    return status


def show(outcome: Outcome[Path, OcrResult]) -> None:
    if outcome.result is None:
        print(f"{outcome.input}: {outcome.error}", file=sys.stderr)
        return
    for invoice in outcome.result.invoices:
        print(outcome.input, invoice.kind, invoice.details.number, invoice.details.total, flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(recognise([Path(name) for name in sys.argv[1:]])))
