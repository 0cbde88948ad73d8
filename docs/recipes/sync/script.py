"""Print what is on invoices, one line each: python script.py FILE…"""

import asyncio
import sys
from pathlib import Path

from ekb_async import EkbSession, MachinePace, OcrResult, Outcome


async def recognise(files: list[Path]) -> list[Outcome[Path, OcrResult]]:
    async with EkbSession.from_env(pacer=MachinePace()) as ekb:
        return [outcome async for outcome in ekb.ocr_many(files)]


def main() -> int:
    outcomes = asyncio.run(recognise([Path(name) for name in sys.argv[1:]]))
    for outcome in outcomes:
        if outcome.result is None:
            print(f"{outcome.input}: {outcome.error}", file=sys.stderr)
            continue
        for invoice in outcome.result.invoices:
            print(outcome.input, invoice.kind, invoice.details.number, invoice.details.total)
    return int(any(outcome.error for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
