"""Files of the jobs next in line: they are uploaded and given download URLs just before their calls are sent.

A download URL is valid for at most half an hour, while a queue may hold hours of work. So URLs are fetched for the
front of a queue only. When one of the next few jobs lacks a URL that will still be valid when its slot opens, one
request fetches URLs for all jobs at the front, up to the vendor's limit of 100. How many jobs "the next few" are
follows from the duration of the last fetch, so that fetching overlaps with waiting for a slot. URLs are fetched no
earlier than that, since their lifetime runs from the fetch.

Local files are uploaded a little further ahead, a few at a time. The queues of a session share the fetched URLs:
recognising and verifying the same attachment takes one URL.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from ekb_async.aio.batcher import Batcher
from ekb_async.aio.tasks import TaskScope
from ekb_async.client.attempt import Api
from ekb_async.errors import ConfigError, EkbError, InvalidRequestError, PermissionDeniedError
from ekb_async.files.attachments import check_content, checked_attachment, fetch_download_urls, upload
from ekb_async.files.limits import LIMITS
from ekb_async.files.local_files import accepted_name, checked_name
from ekb_async.models import Attachment, FileUrl, LocalFile
from ekb_async.models.files import FileContent, KnownFile
from ekb_async.protocol import endpoints
from ekb_async.protocol.clock import VendorClock
from ekb_async.protocol.endpoints import MAX_DOWNLOAD_URLS, MAX_URL_LIFE
from ekb_async.protocol.retry import is_transient
from ekb_async.validation import checked_text

_ORDINARY_URL = re.compile(r"https?://([\w.:-]+)((?:/[^\s?#]*)?)(?=[?#]|\Z)", re.ASCII)


class CallFile:
    """The file of a call: its source, its upload and attachment as far as they exist, and its URL if it was given one.

    Raises `ConfigError` for a value that is not a file, and for `bytes` that cannot be uploaded as `file_name`.
    """

    __slots__ = ("attachment", "content", "local", "name", "sha256", "upload", "upload_name", "url")

    def __init__(self, file: FileContent, file_name: str | None = None) -> None:
        self.url: str | None = None
        self.attachment: Attachment | None = None
        self.local: Path | None = None
        self.content: bytes | None = None
        self.sha256: str | None = None
        self.upload: asyncio.Task[None] | None = None
        self.upload_name: str | None = None
        if isinstance(file, str):
            self.url = checked_text("file", file)
            self.name = _name_in(file)
        elif isinstance(file, Attachment):
            self.attachment = checked_attachment(file)
            self.name = file.key
        elif isinstance(file, LocalFile | Path):
            self.local = file.path if isinstance(file, LocalFile) else file
            self.sha256 = file.sha256 if isinstance(file, KnownFile) else None
            self.name = accepted_name(self.local)
            self.upload_name = file_name if file_name is None else checked_name(file_name)
        elif isinstance(file, bytes):
            if file_name is None:
                raise ConfigError("file_name is needed for a file given as bytes")
            self.name = self.upload_name = checked_name(file_name)
            check_content(self.name, file)
            self.content = file
        else:
            raise ConfigError(
                f"file must be a URL, an Attachment, a LocalFile, a Path or bytes, not {type(file).__name__}"
            )

    @property
    def to_upload(self) -> Path | bytes | None:
        """What has to be uploaded: a path or content; None once it has been, or for a URL or an attachment."""
        if self.attachment is not None:
            return None
        return self.local if self.content is None else self.content

    @property
    def needs_upload(self) -> bool:
        return self.to_upload is not None

    @property
    def was_attached(self) -> bool:
        """Whether it was given as an attachment, not uploaded for the call."""
        return self.url is None and self.local is None and self.upload_name is None

    def mark_uploaded(self, attachment: Attachment) -> None:
        """Store the attachment that the upload gave, and release content given as bytes."""
        self.attachment, self.content = attachment, None


def _name_in(url: str) -> str:
    """Return the last segment of a URL's path, or else its host.

    Raises `ConfigError` unless it is an http(s) URL with a host.
    """
    # The regex covers nearly all URLs; urlsplit costs more than the rest of queuing a job.
    if ordinary := _ORDINARY_URL.match(url):
        host, path = ordinary.groups()
    else:
        try:
            scheme, host, path, _, _ = urlsplit(url)
        except ValueError:
            raise ConfigError("the file's URL cannot be read") from None
        if scheme not in {"http", "https"} or not host:
            raise ConfigError("a file given as text must be an http or https URL; use LocalFile for a path")
    return unquote(path.rpartition("/")[2]) or host


class WaitingQueue(Protocol):
    """A call queue, as far as preparing its files needs it."""

    @property
    def next_files(self) -> Sequence[CallFile]:
        """The files of the jobs next in line, in order."""
        ...

    @property
    def interval(self) -> float:
        """Seconds between two starts."""
        ...

    def wake(self) -> None:
        """Notify the queue that a file may be ready."""
        ...

    def fail_file(self, file: CallFile, error: EkbError) -> None:
        """Fail the jobs of a file that cannot be uploaded or has no URL."""
        ...

    def fail_uploads(self, error: EkbError) -> None:
        """Fail all jobs whose file must still be uploaded: uploading is not permitted."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class _CachedUrl:
    """A URL and its end on two clocks: the loop's, which cannot be set, and the vendor's, which also advances while
    this machine sleeps.
    """

    url: str = dataclasses.field(repr=False)
    refetch_below: float
    """Seconds left from which on it may be fetched again."""
    valid_until: float
    valid_until_at_vendor: float

    def seconds_left(self, now: float, now_at_vendor: float) -> float:
        return min(self.valid_until - now, self.valid_until_at_vendor - now_at_vendor)


class FileUrls:
    """The uploads and download URLs of a session, shared by its queues."""

    def __init__(self, api: Api, clock: VendorClock) -> None:
        self._api = api
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._scope = TaskScope()
        self._queues: list[WaitingQueue] = []
        self._urls: dict[Attachment, _CachedUrl] = {}
        self._requested: set[Attachment] = set()
        self._uploading = 0
        self._fetch_seconds = 0.0
        self._url_lifetime = float(MAX_URL_LIFE)
        self._batcher: Batcher[Attachment, FileUrl] = Batcher(
            "download_urls", self._fetch, size=MAX_DOWNLOAD_URLS, in_flight=LIMITS.concurrent_url_requests
        )

    def attach(self, queue: WaitingQueue) -> None:
        """Register a queue to be notified when a file becomes ready or fails."""
        self._queues.append(queue)

    def ready_url(self, file: CallFile) -> str | None:
        """Return the file's URL if it has one that is valid now."""
        if file.url is not None:
            return file.url
        cached = self._urls.get(file.attachment) if file.attachment is not None else None
        return cached.url if cached is not None and self._seconds_left(cached) > 0 else None

    def prefetch(self, queue: WaitingQueue) -> None:
        """Start the uploads and the URL request that the jobs next in line need and that are not running yet."""
        files, limits = queue.next_files, LIMITS
        self._upload_ahead(files, queue)
        ahead = max(limits.url_ahead_seconds, limits.url_ahead_fetches * self._fetch_seconds)
        reach = math.ceil(self._url_lifetime / queue.interval)
        ahead = min(ahead, self._url_lifetime * limits.url_ahead_share)
        near = max(limits.min_urls_ahead, math.ceil(ahead / queue.interval))
        if any(self._lacks_url(file, index, queue.interval) for index, file in enumerate(files[: min(near, reach)])):
            wanted = {
                file.attachment: None
                for index, file in enumerate(files[:reach])
                if file.attachment is not None and self._lacks_url(file, index, queue.interval)
            }
            self._requested.update(wanted)
            self._scope.start(self._fetch_for(list(wanted)), name="ekb file URLs")

    def forget_url(self, file: CallFile) -> None:
        """Discard the file's URL, so that another is fetched unless the caller gave it."""
        if file.attachment is not None:
            self._urls.pop(file.attachment, None)

    def drop(self, file: CallFile) -> None:
        """Cancel the upload of a file whose job has ended."""
        if file.upload is not None:
            file.upload.cancel()

    async def close(self) -> None:
        await self._scope.finish(0)
        await self._batcher.close(0)

    def _lacks_url(self, file: CallFile, index: int, interval: float) -> bool:
        """Return whether a URL has to be fetched for the file with `index` jobs with files ahead of it."""
        if file.attachment is None or file.attachment in self._requested:
            return False
        cached = self._urls.get(file.attachment)
        if cached is None:
            return True
        left = self._seconds_left(cached)
        return left <= 0 or (left <= index * interval and left <= cached.refetch_below)

    def _seconds_left(self, cached: _CachedUrl) -> float:
        return cached.seconds_left(self._loop.time(), self._clock.now())

    def _upload_ahead(self, files: Sequence[CallFile], queue: WaitingQueue) -> None:
        reach = max(LIMITS.min_uploads_ahead, math.ceil(LIMITS.upload_ahead_seconds / queue.interval))
        for file in files[:reach]:
            if self._uploading >= LIMITS.concurrent_uploads:
                return
            if (source := file.to_upload) is not None and file.upload is None:
                self._uploading += 1
                work = self._upload_for(file, source, queue)
                file.upload = self._scope.start(work, name="ekb upload", on_end=self._upload_ended)

    def _upload_ended(self, _upload: asyncio.Task[None]) -> None:
        self._uploading -= 1
        # The limit on uploads is shared by all queues, so any of them may start one now.
        for queue in self._queues:
            queue.wake()

    async def _upload_for(self, file: CallFile, source: Path | bytes, queue: WaitingQueue) -> None:
        try:
            file.mark_uploaded(await upload(self._api, source, file.upload_name, sha256=file.sha256))
        except PermissionDeniedError as error:
            queue.fail_uploads(error.met_before_sending())
        except EkbError as error:
            queue.fail_file(file, error.met_before_sending())

    async def _fetch_for(self, attachments: list[Attachment]) -> None:
        began = self._loop.time()
        try:
            found = await self._batcher.load_each(attachments)
        finally:
            self._requested.difference_update(attachments)
        self._fetch_seconds = self._loop.time() - began
        self._prune()
        for attachment, result in found.items():
            if isinstance(result, FileUrl):
                self._store(attachment, result)
        for queue in self._queues:
            self._fail_missing(found, queue)
            queue.wake()

    def _store(self, attachment: Attachment, file_url: FileUrl) -> None:
        now = self._clock.now()
        lifetime = file_url.expires_at.timestamp() - now if file_url.expires_at is not None else 0.0
        # A new URL that seems expired, or valid for longer than requested, means that the clocks disagree.
        if not 0 < lifetime <= MAX_URL_LIFE:
            lifetime = float(MAX_URL_LIFE)
        self._url_lifetime = lifetime
        usable = lifetime - min(LIMITS.url_margin_seconds, lifetime * LIMITS.url_margin_share)
        refetch_below = usable * LIMITS.url_refetch_share
        self._urls[attachment] = _CachedUrl(file_url.url, refetch_below, self._loop.time() + usable, now + usable)

    def _fail_missing(self, found: Mapping[Attachment, FileUrl | EkbError | None], queue: WaitingQueue) -> None:
        for index, file in enumerate(queue.next_files):
            result = found.get(file.attachment, _NOT_REQUESTED) if file.attachment is not None else _NOT_REQUESTED
            if result is None:
                problem: EkbError = InvalidRequestError(
                    "the vendor gave no download URL for the attachment",
                    status=200,
                    endpoint=endpoints.DOWNLOAD_URLS.path,
                    hint="Check the attachment's id and key.",
                )
                queue.fail_file(file, problem)
            elif isinstance(result, EkbError) and (index < LIMITS.min_urls_ahead or not is_transient(result)):
                # A passing failure that outlasted its retries fails only the next jobs; the others get another request.
                queue.fail_file(file, result.met_before_sending())

    def _prune(self) -> None:
        if len(self._urls) > LIMITS.cached_urls:
            self._urls = {attachment: url for attachment, url in self._urls.items() if self._seconds_left(url) > 0}

    async def _fetch(self, attachments: list[Attachment]) -> dict[Attachment, FileUrl]:
        return await fetch_download_urls(self._api, attachments, MAX_URL_LIFE)


_NOT_REQUESTED = object()
