"""The calls that store files and give their URLs."""

from __future__ import annotations

from typing import Any

from ekb_async.sandbox.vendor.books.books import Books
from ekb_async.sandbox.vendor.calls.handler import Handlers
from ekb_async.sandbox.vendor.exchange import RefusedError, VendorRequest, json_body, text_field, wrong_parameters
from ekb_async.sandbox.vendor.rules import (
    FORBIDDEN_IN_NAMES,
    MAX_DOWNLOAD_URLS,
    MAX_REQUEST,
    MAX_UPLOAD,
    MAX_URL_LIFETIME,
)


class AttachmentCalls:
    """Upload and download URLs."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.handlers: Handlers = {
            "upload": self._upload,
            "download_urls": self._download_urls,
        }

    def _upload(self, request: VendorRequest, _at: float) -> Any:
        if request.upload is None or not request.upload[0]:
            raise wrong_parameters()
        name, content = request.upload
        if len(content) > MAX_REQUEST:
            raise RefusedError(413, "Request Entity Too Large")
        if len(content) > MAX_UPLOAD:
            raise RefusedError(412, "上传附件大小不可超过30Mb")
        if not FORBIDDEN_IN_NAMES.isdisjoint(name):
            raise RefusedError(400, '附件名称不可包含特殊字符 ? \\ / * < > : " |')
        attachment = self._books.files.add(content, name)
        return {"value": {"key": attachment.key, "fileId": attachment.id, "fileName": name}}

    def _download_urls(self, request: VendorRequest, at: float) -> Any:
        wanted = json_body(request)
        if not isinstance(wanted, list) or not all(isinstance(entry, dict) for entry in wanted):
            raise wrong_parameters()
        if len(wanted) > MAX_DOWNLOAD_URLS:
            raise RefusedError(400, f"单次最多获取{MAX_DOWNLOAD_URLS}个附件")
        return [self._download_url(entry, at) for entry in wanted]

    def _download_url(self, entry: dict[str, Any], at: float) -> dict[str, str]:
        file_id, key = text_field(entry, "id"), text_field(entry, "key")
        lifetime = entry.get("expiration", MAX_URL_LIFETIME)
        if isinstance(lifetime, bool) or not isinstance(lifetime, int):
            raise wrong_parameters()
        if not 0 < lifetime <= MAX_URL_LIFETIME:
            raise RefusedError(400, f"链接有效期不可超过{MAX_URL_LIFETIME}秒")
        file = self._books.files.find(file_id, key)
        if file is None:
            raise RefusedError(400, "附件不存在")
        expires_at = at + min(lifetime, self._books.rules.url_lifetime)
        url, thumb_url = self._books.files.signed_urls(self._books.base_url, file, expires_at)
        return {"id": file_id, "key": key, "url": url, "thumbUrl": thumb_url}
