"""The vendor's files: uploads, invoice images, and the signed URLs that open them without a token.

A URL expires at the whole second in its `Expires`, rounded up so that it is never valid for less than was asked for.
OCR and verification look up a URL of this host here. A URL of any other host counts as a readable invoice, identified
by the URL without its query.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from ekb_async.models.files import Attachment
from ekb_async.sandbox.vendor.exchange import VendorReply
from ekb_async.sandbox.vendor.routes import FILES

_MEDIA_TYPES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/ofd"),
    (b"<?xml", "application/xml"),
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class UnreadableFileError(Exception):
    """Raised for a file URL that cannot be opened or leads to no invoice; `expired` is True if it has expired."""

    def __init__(self, *, expired: bool = False) -> None:
        super().__init__("expired" if expired else "unreadable")
        self.expired = expired


@dataclass(frozen=True)
class StoredFile:
    """One file; files of equal content share `content`. `digest` is its SHA-256 in hexadecimal."""

    id: str
    key: str
    digest: str
    content: bytes


class FileStore:
    """All files of the vendor, and the signing and checking of their URLs."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._by_key: dict[str, StoredFile] = {}
        self._contents: dict[str, bytes] = {}
        self._uploads = 0

    def add(self, content: bytes, name: str) -> Attachment:
        """Store an uploaded file under a new ID and key."""
        self._uploads += 1
        mark = hmac.new(self._secret, f"upload {self._uploads}".encode(), hashlib.sha256).hexdigest()
        file = self.put(f"openapi{mark[:16]}-{name}", content, file_id=f"ID01{mark[16:28]}")
        return Attachment(id=file.id, key=file.key)

    def put(self, key: str, content: bytes, *, file_id: str = "") -> StoredFile:
        """Store a file under the given key."""
        digest = hashlib.sha256(content).hexdigest()
        content = self._contents.setdefault(digest, content)
        file = self._by_key[key] = StoredFile(file_id, key, digest, content)
        return file

    def find(self, file_id: str, key: str) -> StoredFile | None:
        """Return the upload with this ID and key, None if there is none."""
        file = self._by_key.get(key)
        return file if file is not None and file.id == file_id else None

    def signed_urls(self, base_url: str, file: StoredFile, expires_at: float) -> tuple[str, str]:
        """Return the URLs of a file and of its thumbnail; the latter is "" for a file that is not an image."""
        expires = str(math.ceil(expires_at))
        query = {"Expires": expires, "OSSAccessKeyId": "STS.sandbox", "Signature": self._sign(file.key, expires)}
        url = f"{base_url}{FILES}{quote(file.key, safe='')}?{urlencode(query)}"
        if not (media_type(file.content) or "").startswith("image/"):
            return url, ""
        return url, f"{url}&x-oss-process={quote('image/resize,w_200', safe='')}"

    def content_of(self, url: str, base_url: str, at: float) -> str:
        """Return the identity of the content behind a file URL. Raise `UnreadableFileError` if it is no invoice."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise UnreadableFileError
        if not url.startswith(base_url + FILES):
            return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        file, _, expired = self._open(parts.path, dict(parse_qsl(parts.query)), at)
        if file is None or media_type(file.content) is None:
            raise UnreadableFileError(expired=expired)
        return file.digest

    def serve(self, path: str, query: Mapping[str, str], at: float) -> VendorReply:
        """Return the answer to a GET of a signed URL."""
        file, code, _ = self._open(path, query, at)
        if file is None:
            status = 404 if code == "NoSuchKey" else 403
            body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
            return VendorReply(status, body.encode(), {"Content-Type": "application/xml"})
        content_type = media_type(file.content) or "application/octet-stream"
        return VendorReply(200, file.content, {"Content-Type": content_type})

    def _open(self, path: str, query: Mapping[str, str], at: float) -> tuple[StoredFile | None, str, bool]:
        key = unquote(path.removeprefix(FILES))
        expires = query.get("Expires", "")
        if not hmac.compare_digest(query.get("Signature", "").encode(), self._sign(key, expires).encode()):
            return None, "SignatureDoesNotMatch", False
        if at >= int(expires):
            return None, "AccessDenied", True
        file = self._by_key.get(key)
        return file, "" if file else "NoSuchKey", False

    def _sign(self, key: str, expires: str) -> str:
        digest = hmac.new(self._secret, f"{key}\n{expires}".encode(), hashlib.sha256).digest()
        return base64.b64encode(digest[:20]).decode()


def media_type(content: bytes) -> str | None:
    """Return the media type by the first bytes of an image, a PDF, an OFD or an XML file; None for anything else."""
    start = content[:64].removeprefix(_BYTE_ORDER_MARK)
    return next((name for magic, name in _MEDIA_TYPES if start.startswith(magic)), None)
