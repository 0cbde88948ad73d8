"""Hosts on one machine: network namespaces with two links each, one towards the database and one towards the vendor.

Each of the two networks is a switch (a bridge) of its own, on which this machine has the first address. A link that is
cut swallows what either side sends and tells nobody, as when a host has lost its power: connections stay as they are
until somebody's patience ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from ipaddress import IPv4Network
from pathlib import Path

import pytest

import ekb_async
from ekb_async.sandbox import Sandbox
from tests.support.postgres import running_postgres

DATABASE, VENDOR = "database", "vendor"
"""What the two links of a host lead to."""

_ADDRESSES = IPv4Network("198.18.0.0/15")  # which nobody uses outside of tests
_SIZE = 28
_ROOM = 2 ** (32 - _SIZE)


class Host:
    """A namespace; made by `Network.hosts`."""

    def __init__(self, name: str, ports: dict[str, str]) -> None:
        self._name = name
        self._ports = ports

    @asynccontextmanager
    async def running(self, program: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A Python process on the host, which is killed in the end if it has not ended."""
        process = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", self._name),
            *(sys.executable, "-c", program, *arguments),
            env={**os.environ, "PYTHONPATH": str(Path(ekb_async.__file__).parents[1]), "EKB_ALLOW_HTTP": "1"},
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def cut(self, *links: str) -> None:
        """Cuts links."""
        for link in links:
            _ip("link", "set", self._ports[link], "down")

    def mend(self, *links: str) -> None:
        """Undoes `cut`."""
        for link in links:
            _ip("link", "set", self._ports[link], "up")


class Network:
    """The two switches, and the hosts that are plugged into them; made by `open_network`."""

    def __init__(self) -> None:
        me = os.getpid()
        self._name = f"ekb{me}"
        # A place for each process that runs tests.
        first = 2 * _ROOM * me % _ADDRESSES.num_addresses
        self.ranges = {
            DATABASE: IPv4Network((int(_ADDRESSES[first]), _SIZE)),
            VENDOR: IPv4Network((int(_ADDRESSES[first + _ROOM]), _SIZE)),
        }
        self._stack = ExitStack()
        self._switches: dict[str, str] = {}

    def open(self) -> None:
        for link in self.ranges:
            switch = self._switches[link] = self._name + link[0]
            _ip("link", "add", switch, "type", "bridge")
            self._stack.callback(_ip, "link", "del", switch)
            _ip("address", "add", f"{self.address(link)}/{_SIZE}", "dev", switch)
            _ip("link", "set", switch, "up")

    def close(self) -> None:
        self._stack.close()

    def address(self, link: str, place: int = 1) -> str:
        """This machine's address on a network, or that of whoever is at another place."""
        return str(self.ranges[link][place])

    @contextlib.contextmanager
    def hosts(self, count: int) -> Iterator[list[Host]]:
        """So many hosts, all of whose links work."""
        with ExitStack() as stack:
            yield [self._host(number, stack) for number in range(count)]

    def _host(self, number: int, stack: ExitStack) -> Host:
        name = f"{self._name}-{number}"
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "del", name)
        ports = {}
        for link, switch in self._switches.items():
            port = ports[link] = f"{switch}{number}"
            _ip("link", "add", port, "type", "veth", "peer", "name", link, "netns", name)
            # With its port a link is gone at once, a namespace when the kernel comes to it.
            stack.callback(_ip, "link", "del", port)
            _ip("link", "set", port, "master", switch, "up")
            _ip("-n", name, "address", "add", f"{self.address(link, number + 2)}/{_SIZE}", "dev", link)
            _ip("-n", name, "link", "set", link, "up")
        _ip("netns", "exec", name, "true")
        return Host(name, ports)


def _ip(*arguments: str) -> None:
    command = ["ip", *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - what this module says


@contextlib.contextmanager
def open_network() -> Iterator[Network]:
    """The network for tests, which are skipped where the machine does not allow it."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("hosts are simulated on Linux only, as root, and with the command `ip`")
    network = Network()
    try:
        try:
            network.open()
            with network.hosts(1):
                pass
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine makes no namespaces and links: {error.stderr.strip()}")
        yield network
    finally:
        network.close()


@contextlib.contextmanager
def postgres_on(network: Network) -> Iterator[str]:
    """The DSN of a server that hosts reach, over connections whose keepalives are real ones."""
    address = network.address(DATABASE)
    with socket.create_server((address, 0)) as probe:
        port = probe.getsockname()[1]
    access = f"host all all {network.ranges[DATABASE]} trust\n"
    with running_postgres(f"-h {address} -p {port}", access):
        yield f"postgresql://postgres@{address}:{port}/postgres"


@asynccontextmanager
async def reachable(box: Sandbox, network: Network) -> AsyncIterator[str]:
    """The address at which the hosts reach a sandbox."""
    assert box._server is not None
    address = network.address(VENDOR)
    server = await asyncio.get_running_loop().create_server(box._server, address, 0)
    try:
        yield f"http://{address}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
