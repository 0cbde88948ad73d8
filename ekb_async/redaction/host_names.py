"""Mask the names of machines inside the vendor's network in texts.

An error may contain a stack trace, or the message of a client inside the vendor's network, with internal addresses.
A public host stays in a message, since it may be the host of the file; in the details every host is masked.
"""

from __future__ import annotations

import re

_MASK = "***"

_URL_HOST = re.compile(r"""(://)([^\s/?#"'<>\\@,;()\[\]]{1,255})""")
_HOST_FIELD = re.compile(
    r"((?:UnknownHost(?:Exception)?|resolve host|getaddrinfo|(?<![\w.])host(?:name)?|remoteAddress)"
    r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?)[\w.-]{1,255}",
    re.IGNORECASE,
)
_HOST_BEFORE_ADDRESS = re.compile(r"(?<![\w.-])[\w.-]{1,255}/(?=\d{1,3}\.\d)", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][\w.-]{0,255}(?::\d{2,5}(?!\d))?", re.ASCII)
_ADDRESS = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}", re.ASCII)
_LOOPBACK = ("127.", "0.0.0.0")  # noqa: S104 - compared, not listened on
_INTERNAL = frozenset({"local", "internal", "svc", "lan", "intra", "intranet", "corp", "consul", "localdomain", "priv"})
_PUBLIC = frozenset({"com", "cn", "net", "org", "io", "cloud", "top"})
_JAVA_PACKAGES = frozenset({"com", "cn", "net", "org", "io", "java", "javax", "jdk", "sun", "feign", "reactor"})
_SOURCE_SUFFIXES = frozenset({"java", "kt", "scala", "groovy", "py", "js", "ts", "go"})


def without_hosts(text: str, *, public: bool = False) -> str:
    """Return the text with internal hosts and addresses masked, and with public hosts masked too if `public`."""
    text = _HOST_FIELD.sub(rf"\g<1>{_MASK}", text)
    text = _HOST_BEFORE_ADDRESS.sub(f"{_MASK}/", text)
    text = _URL_HOST.sub(lambda found: found[1] + (_MASK if public or _is_single_label(found[2]) else found[2]), text)
    return _WORD.sub(lambda found: _MASK if _is_host(found[0], public=public) else found[0], text)


def _is_single_label(authority: str) -> bool:
    host = authority.partition(":")[0]
    return "." not in host and host != "localhost"


def _is_host(word: str, *, public: bool) -> bool:
    host, _, port = word.partition(":")
    host = host.rstrip(".-").lower()
    if _ADDRESS.fullmatch(host):
        return not host.startswith(_LOOPBACK)
    labels = host.split(".")
    if len(labels) > 1 and labels[-1] in _INTERNAL:
        return True
    if labels[-1] in _SOURCE_SUFFIXES or not public:
        return False
    if len(labels) > 1 and labels[-1] in _PUBLIC and labels[0] not in _JAVA_PACKAGES:
        return True
    # A name with a port, as opposed to a source file with a line number or a field with a number.
    return bool(port) and not host.isdigit() and (len(port) > 3 or "-" in host or len(labels) > 1)
