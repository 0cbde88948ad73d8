"""`CapturingTransport`: passes calls through another transport and writes what went over the wire as a bundle.

A bundle (see `bundle`) is made for a bug report, and to be replayed by `ekb_async.sandbox.Replay`. Secrets and
personal data are masked before anything is written (`redaction.personal`).

Masking and writing happen in a thread of the transport's own, one exchange after the other, so no call waits for them,
and none fails because of them: a disk that is full or a directory that cannot be written ends the bundle, is logged
once, and is the transport's `problem`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from yarl import URL

from ekb_async.aio.tasks import in_thread
from ekb_async.client.addresses import host_and_port
from ekb_async.client.capture.bundle import BundleFiles, Description
from ekb_async.client.capture.limits import LIMITS, CaptureLimits
from ekb_async.client.capture.recording import Observation, Recorder
from ekb_async.errors import ConfigError, EkbConnectionError, EkbError, SessionClosedError, StorageError
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply
from ekb_async.redaction import log_lines
from ekb_async.redaction.log_lines import OneLine
from ekb_async.redaction.masking import without_frames

if TYPE_CHECKING:
    from ekb_async.client.transport import Transport


class CapturingTransport:
    """A transport that sends through `inner` and writes a bundle to `directory`, which it creates.

    Pass it to a session as `transport=`, or let `EkbSession.capture(directory)` make it around the session's own.
    `base_url` is the platform's address, needed if `inner` has no property `host`. `close` completes the bundle and
    closes `inner`. Raises `ConfigError` if the directory has something in it, also an older bundle: that cannot be
    continued.
    """

    def __init__(
        self, inner: Transport, directory: Path | str, *, base_url: str = "", limits: CaptureLimits = LIMITS
    ) -> None:
        if not isinstance(directory, Path | str):
            raise ConfigError(f"directory must be a path, not {type(directory).__name__}")
        self._inner = inner
        self.directory = Path(directory)
        self.host = host_and_port(URL(base_url)) if base_url else getattr(inner, "host", "")
        """The host and port of the platform, "" if it is not known."""
        self._writer = _Writer(self.directory, self.host, limits)

    @property
    def problem(self) -> EkbError | None:
        """Why the bundle is incomplete or missing: what could not be written; None if there was no such problem.

        That a limit was reached is no problem; `bundle.json` shows it. Final after `close`.
        """
        return self._writer.problem

    @property
    def captured(self) -> Description:
        """What has been written so far, as in `bundle.json`."""
        return self._writer.description

    @property
    def proxy(self) -> str:
        """The host and port of the proxy in front of the platform, "" if the inner transport reports none."""
        return getattr(self._inner, "proxy", "")

    async def send(
        self, request: Request[object], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        seen = Observation.of(request, token, _now())

        def note_sent() -> None:
            on_sent()
            seen.sent = True

        try:
            seen.reply = await self._inner.send(request, token=token, timeout=timeout, on_sent=note_sent)
        except BaseException as error:
            if seen.sent or isinstance(error, EkbError):
                self._record(seen, error)
            raise
        self._record(seen)
        return seen.reply

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        seen = Observation(_now(), url=url)

        async def note_and_write(piece: bytes) -> None:
            seen.note_piece(piece)
            await write(piece)

        try:
            seen.reply = await self._inner.download(url, timeout=timeout, write=note_and_write)
        except BaseException as error:
            self._record(seen, error)
            raise
        self._record(seen)
        return seen.reply

    async def close(self) -> None:
        """Close the inner transport and complete the bundle. A cancelled caller waits as well."""
        try:
            await self._inner.close()
        finally:
            await in_thread(self._writer.close)

    def _record(self, seen: Observation, error: BaseException | None = None) -> None:
        is_of_network = seen.sent or isinstance(error, EkbConnectionError)
        if isinstance(error, ConfigError | SessionClosedError) and not is_of_network:
            return
        seen.error = error
        seen.ended = _now()
        self._writer.submit(seen)


class _Writer:
    """Masks and writes exchanges in a thread of its own, in the order in which they ended."""

    def __init__(self, directory: Path, host: str, limits: CaptureLimits) -> None:
        self._recorder = Recorder(host, limits)
        self._files = BundleFiles(directory, self._recorder.public_host, limits)
        self._limits = limits
        # The interpreter waits for this thread at its end, so a bundle is written even if it is never closed.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ekb capture")
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._missed = 0
        self._closed = False
        self._is_open = False
        self.problem: EkbError | None = None

    @property
    def description(self) -> Description:
        return self._files.description

    def submit(self, seen: Observation) -> None:
        """Write an exchange soon; leave it out if too much waits already, or if the bundle is complete."""
        with self._lock:
            if self._closed:
                return
            if self._waiting_bytes + seen.size > self._limits.waiting_bytes:
                self._missed += 1
                return
            # At the end of the interpreter no thread takes any more work.
            with contextlib.suppress(RuntimeError):
                self._thread.submit(self._write, seen)
                self._waiting_bytes += seen.size

    def close(self) -> None:
        """Write what waits, and complete the bundle; blocks. May be called repeatedly."""
        has_thread = True
        with self._lock:
            if not self._closed:
                self._closed = True
                try:
                    self._thread.submit(self._finish)
                except RuntimeError:
                    # As in `submit`; before it ended, the thread wrote what waited.
                    has_thread = False
        if not has_thread:
            self._finish()
        self._thread.shutdown()

    def _write(self, seen: Observation) -> None:
        try:
            if self.problem is not None and not self._is_open:
                return
            self._open()
            if self._files.is_full:
                self.description.left_out += 1
            else:
                self._files.append(self._recorder.line(seen))
        except ConfigError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - no exchange may be written that was not masked to its end
            self.description.withheld += 1
            # The error may quote what was to be masked.
            self._report(EkbError(f"an exchange was not captured: {type(error).__name__}"))
        finally:
            with self._lock:
                self._waiting_bytes -= seen.size

    def _open(self) -> None:
        if not self._is_open:
            self._files.open()
            self._is_open = True

    def _finish(self) -> None:
        try:
            if self.problem is None or self._is_open:
                self._open()
                self._note_missed()
                self._files.close()
        except ConfigError as error:
            self._fail(error)

    def _note_missed(self) -> None:
        if self._missed:
            self.description.left_out += self._missed
            self.description.limits_reached.append("waiting_bytes")

    def _fail(self, error: EkbError) -> None:
        self._is_open = False
        self._report(error)
        with contextlib.suppress(StorageError):
            self._files.close()

    def _report(self, error: EkbError) -> None:
        if self.problem is None:
            self.problem = without_frames(error)
            log_lines.calls.warning("the capture is incomplete: %s", OneLine(error))


def _now() -> float:
    return asyncio.get_running_loop().time()
