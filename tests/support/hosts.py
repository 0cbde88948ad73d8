"""Simulated hosts on one machine: network namespaces with one link to the database and one to the vendor.

Each of the two networks is a separate bridge, on which this machine has the first address. A link that is cut drops all
packets without an error to either side, as when a host has lost its power: connections stay open until a timeout.
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
"""The destinations of a host's two links."""

_ADDRESSES = IPv4Network("198.18.0.0/15")  # reserved for tests
_PREFIX_LENGTH = 28
_NETWORK_SIZE = 2 ** (32 - _PREFIX_LENGTH)


class Host:
    """A network namespace; made by `Network.hosts`."""

    def __init__(self, name: str, ports: dict[str, str]) -> None:
        self._name = name
        self._ports = ports

    @asynccontextmanager
    async def running(self, program: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a Python program on the host; it is killed at the end of the block if it is still running."""
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
        """Cut links."""
        for link in links:
            _ip("link", "set", self._ports[link], "down")

    def mend(self, *links: str) -> None:
        """Undo `cut`."""
        for link in links:
            _ip("link", "set", self._ports[link], "up")


class Network:
    """The two bridges with the hosts that are connected to them; made by `open_network`."""

    def __init__(self) -> None:
        me = os.getpid()
        self._name = f"ekb{me}"
        # A separate address range for each process that runs tests.
        first = 2 * _NETWORK_SIZE * me % _ADDRESSES.num_addresses
        self.ranges = {
            DATABASE: IPv4Network((int(_ADDRESSES[first]), _PREFIX_LENGTH)),
            VENDOR: IPv4Network((int(_ADDRESSES[first + _NETWORK_SIZE]), _PREFIX_LENGTH)),
        }
        self._stack = ExitStack()
        self._bridges: dict[str, str] = {}

    def open(self) -> None:
        for link in self.ranges:
            bridge = self._bridges[link] = self._name + link[0]
            _ip("link", "add", bridge, "type", "bridge")
            self._stack.callback(_ip, "link", "del", bridge)
            _ip("address", "add", f"{self.address(link)}/{_PREFIX_LENGTH}", "dev", bridge)
            _ip("link", "set", bridge, "up")

    def close(self) -> None:
        self._stack.close()

    def address(self, link: str, index: int = 1) -> str:
        """Return an address on a network; 1 is this machine, hosts follow."""
        return str(self.ranges[link][index])

    @contextlib.contextmanager
    def hosts(self, count: int) -> Iterator[list[Host]]:
        """Yield `count` hosts, all of whose links are up."""
        with ExitStack() as stack:
            yield [self._host(number, stack) for number in range(count)]

    def _host(self, number: int, stack: ExitStack) -> Host:
        name = f"{self._name}-{number}"
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "del", name)
        ports = {}
        for link, bridge in self._bridges.items():
            port = ports[link] = f"{bridge}{number}"
            _ip("link", "add", port, "type", "veth", "peer", "name", link, "netns", name)
            # Deleting its port removes a link at once; the kernel removes a namespace some time later.
            stack.callback(_ip, "link", "del", port)
            _ip("link", "set", port, "master", bridge, "up")
            _ip("-n", name, "address", "add", f"{self.address(link, number + 2)}/{_PREFIX_LENGTH}", "dev", link)
            _ip("-n", name, "link", "set", link, "up")
        _ip("netns", "exec", name, "true")
        return Host(name, ports)


def _ip(*arguments: str) -> None:
    command = ["ip", *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - arguments of this module only


@contextlib.contextmanager
def open_network() -> Iterator[Network]:
    """Open the network for tests. Skips the test where the machine does not allow it."""
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
    """Yield the DSN of a server that hosts reach over TCP, so that keepalives work."""
    address = network.address(DATABASE)
    with socket.create_server((address, 0)) as probe:
        port = probe.getsockname()[1]
    access = f"host all all {network.ranges[DATABASE]} trust\n"
    with running_postgres(f"-h {address} -p {port}", access):
        yield f"postgresql://postgres@{address}:{port}/postgres"


@asynccontextmanager
async def reachable(box: Sandbox, network: Network) -> AsyncIterator[str]:
    """Yield the address at which the hosts reach a sandbox."""
    assert box._server is not None
    address = network.address(VENDOR)
    server = await asyncio.get_running_loop().create_server(box._server, address, 0)
    try:
        yield f"http://{address}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
