"""Files of the jobs next in line: uploaded, and turned into URLs, just before their calls are sent.

A download URL lives at most half an hour while a queue may hold hours of work, so a URL belongs to the mouth of the
lane and not to the job. When one of the next few jobs lacks a URL that will still be good at its turn, URLs are
fetched for all jobs near the mouth in one request, up to the vendor's 100. How far ahead "the next few" reaches
follows from how long the last fetch took, so that fetching overlaps with waiting for a slot; a URL is fetched no
earlier, since its life runs.

Local files are uploaded a little further ahead, a few at a time. Queues share what has been fetched: recognising and
verifying the same attachment costs one URL.
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
from ekb_async.files.local_files import accepted_name, checked_name
from ekb_async.models import Attachment, FileUrl, LocalFile
from ekb_async.models.files import FileContent, KnownFile
from ekb_async.protocol import endpoints
from ekb_async.protocol.clock import VendorClock
from ekb_async.protocol.endpoints import MAX_DOWNLOAD_URLS, MAX_URL_LIFE
from ekb_async.protocol.retry import is_transient
from ekb_async.validation import checked_text

_UPLOADS_AT_ONCE = 4
_UPLOAD_AHEAD_SECONDS = 10.0
_UPLOAD_AHEAD_LEAST = 4
_URL_AHEAD_SECONDS = 0.5
_URL_AHEAD_LEAST = 2
_URL_AHEAD_FETCHES = 3
_MARGIN_SECONDS = 60.0
_MARGIN_SHARE = 0.1
_LINKS_KEPT = 2_000
_ORDINARY_URL = re.compile(r"https?://([\w.:-]+)((?:/[^\s?#]*)?)(?=[?#]|\Z)", re.ASCII)


class CallFile:
    """A file given to a call, and how far it is on its way to being a URL.

    Raise `ConfigError` for what is no file, and for `bytes` that cannot be uploaded as `file_name`.
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
        """What has to be uploaded; None once it has been."""
        if self.attachment is not None:
            return None
        return self.local if self.content is None else self.content

    @property
    def needs_upload(self) -> bool:
        return self.to_upload is not None

    def uploaded(self, attachment: Attachment) -> None:
        """Keep the attachment, and content given as bytes no longer."""
        self.attachment, self.content = attachment, None


def _name_in(url: str) -> str:
    """The last segment of a URL's path, or its host. Raises `ConfigError` unless it is http(s) with a host."""
    # Nearly all URLs are ordinary, and taking one apart in general costs more than all else that queues its job.
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


class Waiting(Protocol):
    """A lane, as staging sees it."""

    @property
    def next_files(self) -> Sequence[CallFile]:
        """The files of the jobs next in line, in order."""
        ...

    @property
    def interval(self) -> float:
        """Seconds between two starts."""
        ...

    def wake(self) -> None:
        """A file may be ready now."""
        ...

    def refuse(self, file: CallFile, error: EkbError) -> None:
        """A file cannot be made ready."""
        ...

    def refuse_uploads(self, error: EkbError) -> None:
        """No file can be uploaded."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Link:
    """A URL and for how long it is good: by the loop's clock, which nobody sets, and by the vendor's, which goes on
    while this machine sleeps.
    """

    url: str = dataclasses.field(repr=False)
    life: float
    fresh_until: float
    fresh_until_at_vendor: float

    def left(self, now: float, at_vendor: float) -> float:
        """Seconds for which it is good yet."""
        return min(self.fresh_until - now, self.fresh_until_at_vendor - at_vendor)


class FileUrls:
    """Makes files ready for the lanes of a session."""

    def __init__(self, api: Api, clock: VendorClock) -> None:
        self._api = api
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._scope = TaskScope()
        self._queues: list[Waiting] = []
        self._links: dict[Attachment, _Link] = {}
        self._asked: set[Attachment] = set()
        self._uploading = 0
        self._fetch_seconds = 0.0
        self._url_life = float(MAX_URL_LIFE)
        self._batcher: Batcher[Attachment, FileUrl] = Batcher(
            "download_urls", self._fetch, size=MAX_DOWNLOAD_URLS, in_flight=2
        )

    def attach(self, queue: Waiting) -> None:
        """From now on this lane hears of files that are ready or cannot be made so."""
        self._queues.append(queue)

    def ready_url(self, file: CallFile) -> str | None:
        """The file's URL if it has one that is good now."""
        if file.url is not None:
            return file.url
        link = self._links.get(file.attachment) if file.attachment is not None else None
        return link.url if link is not None and self._left(link) > 0 else None

    def prefetch(self, queue: Waiting) -> None:
        """Begins what the jobs next in line need and nothing has begun yet."""
        files = queue.next_files
        self._upload_ahead(files, queue)
        ahead = max(_URL_AHEAD_SECONDS, _URL_AHEAD_FETCHES * self._fetch_seconds)
        reach = math.ceil(self._url_life / queue.interval)
        near = max(_URL_AHEAD_LEAST, math.ceil(min(ahead, self._url_life / 4) / queue.interval))
        if any(self._lacks_url(file, place, queue.interval) for place, file in enumerate(files[: min(near, reach)])):
            wanted = {
                file.attachment: None
                for place, file in enumerate(files[:reach])
                if file.attachment is not None and self._lacks_url(file, place, queue.interval)
            }
            self._asked.update(wanted)
            self._scope.start(self._fetch_for(list(wanted)), name="ekb file URLs")

    def forget_url(self, file: CallFile) -> bool:
        """Drops the file's URL so that a fresh one is fetched; False if the URL was given and cannot be renewed."""
        if file.attachment is None:
            return False
        self._links.pop(file.attachment, None)
        return True

    def drop(self, file: CallFile) -> None:
        """The file is not needed any more."""
        if file.upload is not None:
            file.upload.cancel()

    async def close(self) -> None:
        await self._scope.finish(0)
        await self._batcher.close(0)

    def _lacks_url(self, file: CallFile, place: int, interval: float) -> bool:
        if file.attachment is None or file.attachment in self._asked:
            return False
        link = self._links.get(file.attachment)
        if link is None:
            return True
        left = self._left(link)
        # One fetched just now is as good as it gets.
        return left <= 0 or (left <= place * interval and left <= link.life / 2)

    def _left(self, link: _Link) -> float:
        return link.left(self._loop.time(), self._clock.now())

    def _upload_ahead(self, files: Sequence[CallFile], queue: Waiting) -> None:
        reach = max(_UPLOAD_AHEAD_LEAST, math.ceil(_UPLOAD_AHEAD_SECONDS / queue.interval))
        for file in files[:reach]:
            if self._uploading >= _UPLOADS_AT_ONCE:
                return
            if (source := file.to_upload) is not None and file.upload is None:
                self._uploading += 1
                file.upload = self._scope.start(self._upload_for(file, source, queue), name="ekb upload")
                file.upload.add_done_callback(self._uploaded)

    def _uploaded(self, _upload: asyncio.Task[None]) -> None:
        self._uploading -= 1
        # Queues share the places for uploads, so another one may have waited for this.
        for queue in self._queues:
            queue.wake()

    async def _upload_for(self, file: CallFile, source: Path | bytes, queue: Waiting) -> None:
        try:
            file.uploaded(await upload(self._api, source, file.upload_name, sha256=file.sha256))
        except PermissionDeniedError as error:
            queue.refuse_uploads(error.met_before_sending())
        except EkbError as error:
            queue.refuse(file, error.met_before_sending())

    async def _fetch_for(self, attachments: list[Attachment]) -> None:
        began = self._loop.time()
        try:
            found = await self._batcher.load_each(attachments)
        finally:
            self._asked.difference_update(attachments)
        self._fetch_seconds = self._loop.time() - began
        self._prune()
        for attachment, link in found.items():
            if isinstance(link, FileUrl):
                self._keep(attachment, link)
        for queue in self._queues:
            self._refuse_missing(found, queue)
            queue.wake()

    def _keep(self, attachment: Attachment, link: FileUrl) -> None:
        now = self._clock.now()
        life = link.expires_at.timestamp() - now if link.expires_at is not None else 0.0
        # Just issued: where it seems to be dead, or to live longer than was asked for, the clocks disagree.
        if not 0 < life <= MAX_URL_LIFE:
            life = float(MAX_URL_LIFE)
        self._url_life = life
        fresh = life - min(_MARGIN_SECONDS, life * _MARGIN_SHARE)
        self._links[attachment] = _Link(link.url, fresh, self._loop.time() + fresh, now + fresh)

    def _refuse_missing(self, found: Mapping[Attachment, FileUrl | EkbError | None], queue: Waiting) -> None:
        for place, file in enumerate(queue.next_files):
            answer = found.get(file.attachment, _NOT_ASKED) if file.attachment is not None else _NOT_ASKED
            if answer is None:
                problem: EkbError = InvalidRequestError(
                    "the vendor gave no download URL for the attachment",
                    status=200,
                    endpoint=endpoints.DOWNLOAD_URLS.path,
                    hint="Check the attachment's id and key.",
                )
                queue.refuse(file, problem)
            elif isinstance(answer, EkbError) and (place < _URL_AHEAD_LEAST or not is_transient(answer)):
                # Trouble on the way that outlived its retries costs only the jobs whose turn it is.
                queue.refuse(file, answer.met_before_sending())

    def _prune(self) -> None:
        if len(self._links) > _LINKS_KEPT:
            self._links = {attachment: link for attachment, link in self._links.items() if self._left(link) > 0}

    async def _fetch(self, attachments: list[Attachment]) -> dict[Attachment, FileUrl]:
        return await fetch_download_urls(self._api, attachments, MAX_URL_LIFE)


_NOT_ASKED = object()
