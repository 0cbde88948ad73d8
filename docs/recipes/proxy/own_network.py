"""The same with proxy and authority from settings of the program: python own_network.py"""

import asyncio
import os
import ssl

import aiohttp

from ekb_async import EkbSession


def own_client() -> aiohttp.ClientSession:
    trusted = ssl.create_default_context()  # the authorities of the system,
    trusted.load_verify_locations(cafile=os.environ["COMPANY_CA"])  # and that of the company
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=trusted),
        proxy=os.environ["COMPANY_PROXY"],  # http://user:password@proxy.internal:3128
    )


async def main() -> None:
    async with own_client() as client, EkbSession.from_env(client_session=client) as ekb:
        for licence in await ekb.licences():
            print(licence.name, licence.state, licence.expires_at)


if __name__ == "__main__":
    asyncio.run(main())
