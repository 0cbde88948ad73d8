"""Show the licences of the enterprise, through the proxy of the environment: python licences.py"""

import asyncio

from ekb_async import ConfigError, EkbConnectionError, EkbSession, ProxyError


async def main() -> None:
    async with EkbSession.from_env() as ekb:
        for licence in await ekb.licences():
            print(licence.name, licence.state, licence.expires_at)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ConfigError as error:  # wrong settings, also a proxy that does not exist or refuses the login
        raise SystemExit(f"settings: {error}") from None
    except ProxyError as error:  # nothing has been sent to the vendor
        raise SystemExit(f"proxy: {error}") from None
    except EkbConnectionError as error:  # a certificate that is not trusted, among others
        raise SystemExit(f"network: {error}") from None
