"""Add invoices to be verified: python add.py TENANT STAFF FILE…"""

import asyncio
import os
import sys
from pathlib import Path

from ekb_async.postgres import Enqueuer, InvoiceJob


async def main(tenant: str, staff_id: str, *files: str) -> None:
    jobs = [InvoiceJob(kind="verify", tenant=tenant, staff_id=staff_id, file=Path(file), ref=file) for file in files]
    async with Enqueuer(os.environ["EKB_DSN"]) as enqueuer:  # a service keeps it open
        report = await enqueuer.add(jobs)
    print(f"{report.added} of {len(jobs)} added")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
