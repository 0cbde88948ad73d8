"""What of a URL's query says which file it is, and what only opens it.

Stores and CDNs sign in ever new ways, so an allow rule decides: a parameter is kept if its name says that it names
something, or if its value is too plain to be a signature. What is left out is no part of a call's identity either, so
the same file under a URL that was signed anew is paid for once. Two different files must not become one: where only the
query can tell them apart, a digest stands for a value of which nothing is known. At the known object stores the path is
the file.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote, unquote

_SIGNS = re.compile(
    r"signature|token|secret|auth(?!or)|authorization|hmac|jwt|credential|access_?key|accessid|api[_-]?key|expire|expiry"
    r"|passw|passcode|session|nonce|hdn(?:ts|ea|tl)|sharekey|resourcekey|bearer|cookie|deadline"
    r"|^(?:pwd|pass|_?upt|ak|sk|key-pair-id|keyname|urlprefix|hash-algorithm|(?:tx|ws|hw)(?:abs)?(?:time|key))$"
    r"|^sign|(?<!de)(?<!as)sign$|(?:^|[_-])sig$|(?:^|[_-])policy$"
    r"|^x-[a-z0-9]+-(?!.*(?:process|version-?id)$)|^q-[a-z-]+$|^response-[a-z-]+$"
)
"""In the name of a parameter, in lower case."""
_AZURE = re.compile(r"s(?:v|s|rt|r|p|e|t|ip|pr|i|dd|aoid|uoid|cid|koid|ktid|kt|ke|ks|kv|es|ig)")
_NAMES = re.compile(r"(?:id|ids|no|number|name|file|path|object|version|document|attachment|invoice)$")
"""In the name of a parameter that says which file it is."""
_KEYS = re.compile(r"access_?key_?id|accessid|key-pair-id|session|secret|passw")
"""In the name of a parameter that names something and opens it all the same."""
_TIMES = re.compile(r"^(?:_|e|exp|t|ts|st|et)$|time|stamp")
_SELECTS = re.compile(r"version-?id$|^snapshot$|^x-[a-z]+-process$|^image(?:view|mogr)2?\b|^(?:part|page)$")
"""In the name of a parameter that chooses a version or a view of an object."""
_STORES = re.compile(
    r"(?:^|\.)(?:oss-[a-z0-9-]+\.aliyuncs\.com|cos\.[a-z0-9-]+\.(?:myqcloud\.com|tencentcos\.cn)"
    r"|s3[a-z0-9.-]*\.amazonaws\.com(?:\.cn)?|obs\.[a-z0-9-]+\.myhuaweicloud\.com|(?:[a-z]+\.)?bcebos\.com"
    r"|tos-[a-z0-9-]+\.(?:i?volces|volcengine)\.com|ks3-[a-z0-9-]+\.ksyuncs\.com|qiniucdn\.com|qiniudn\.com"
    r"|clouddn\.com|qbox\.me|qnssl\.com|upaiyun\.com|upcdn\.net|blob\.core\.(?:windows\.net|chinacloudapi\.cn)"
    r"|storage\.googleapis\.com|r2\.cloudflarestorage\.com|digitaloceanspaces\.com|nosdn\.127\.net|ufileos\.com)"
    r"(?::\d+)?$"
)
_FILE = re.compile(r"[^/]\.[a-z][a-z0-9]{1,4}$", re.IGNORECASE)
_INVOICE_FILE = re.compile(
    r"[^/]\.(?:pdf|ofd|xml|zip|rar|7z|eml|docx?|xlsx?|jpe?g|png|gif|bmp|tiff?|webp|heic)$", re.IGNORECASE
)
_MOMENT = re.compile(r"[1-4]\d{9}(?:\d{3})?|(?:0x)?[4-9a-f][0-9a-f]{7}|\d{4}-?\d\d-?\d\dT[\d:.%A]+Z?", re.IGNORECASE)
_CODED = re.compile(r"[A-Za-z0-9_\-+/=.~:|]{12,}")
_PART = re.compile(r"[A-Za-z0-9]{12,}")
_CHANGE = re.compile(r"(?<=\d)(?=[A-Za-z])|(?<=[A-Za-z])(?=\d)")
_HUMP = re.compile(r"[a-z][A-Z]")
_DIGEST = re.compile(r"~[0-9a-f]{16}")
_OPENS = re.compile(r"^eyJ[\w-]+\.[\w-]+\.|(?:^|~)hmac=")
"""In a value that signs by its make: a web token, or one that is made of parts."""
_WITHIN = re.compile(r"[?&][^=&?]+=")
_PAIR = re.compile(r"(?<![^?&])[^?&=]++=[^?&]+")
_DEEPEST = 3
_SHORTEST_SIGNATURE = 22
"""Characters of an MD5 in base64."""


def which_file(host: str, path: str, query: str) -> str:
    """Return the query without what signs the URL or lets it expire. Doing so again changes nothing."""
    pairs = [(_name(pair), pair) for pair in query.split("&") if pair]
    if _STORES.search(host.lower()):
        return "&".join(pair for name, pair in pairs if _SELECTS.search(name))
    names = {name for name, _ in pairs}
    if "sig" in names and names & {"sv", "se", "sp"}:
        pairs = [(name, pair) for name, pair in pairs if not _AZURE.fullmatch(name)]
    signed = len(pairs) < len(names) or any(_SIGNS.search(name) or _is_end(name, pair) for name, pair in pairs)
    in_path = _INVOICE_FILE.search(unquote(path)) is not None
    kept = (_kept(name, pair, signed=signed, in_path=in_path) for name, pair in pairs if not _only_opens(name))
    return "&".join(pair for pair in kept if pair)


def is_signed(query: str) -> bool:
    """Return whether a query, as it may stand in any text, has a parameter that may open a file."""
    for pair in _PAIR.finditer(query.replace("\\u0026", "&").replace("&amp;", "&")):
        name, value = _name(pair[0]), pair[0].partition("=")[2]
        if _SIGNS.search(name) or _OPENS.search(unquote(value)):
            return True
        if not (_NAMES.search(name) or _is_plain(value)):
            return True
    return False


def _only_opens(name: str) -> bool:
    """Return whether a parameter of this name signs a URL, and does not say which file it is as well."""
    return _SIGNS.search(name) is not None and (_NAMES.search(name) is None or _KEYS.search(name) is not None)


def _name(pair: str) -> str:
    return unquote(pair.partition("=")[0]).lower()


def _kept(name: str, pair: str, *, signed: bool, in_path: bool) -> str:
    """Return what is kept of a parameter that does not sign the URL by its name."""
    spelled, mark, value = pair.partition("=")
    names_something = _NAMES.search(name) is not None
    if (signed or in_path) and _is_end(name, pair):
        return ""
    if _OPENS.search(unquote(value)):
        return ""
    if _WITHIN.search(unquote(value)):
        return f"{spelled}={_url_within(value)}"
    if names_something and _SIGNS.search(name):
        return _digested(spelled, mark, value)
    if names_something or _DIGEST.fullmatch(value or spelled) or _is_plain(value if mark else spelled):
        return pair
    # Where the query is signed and the path names a file, what is as long as a signature is taken for one.
    is_signature = signed and in_path and len(unquote(value or spelled)) >= _SHORTEST_SIGNATURE
    return "" if is_signature else _digested(spelled, mark, value)


def _is_end(name: str, pair: str) -> bool:
    """Return whether a parameter says until when a URL is good, or since when."""
    is_time = _TIMES.search(name) is not None and _NAMES.search(name) is None
    return is_time and _MOMENT.fullmatch(pair.partition("=")[2]) is not None


def _digested(spelled: str, mark: str, value: str) -> str:
    if _DIGEST.fullmatch(value or spelled):
        return f"{spelled}{mark}{value}"
    digest = f"~{hashlib.sha256((value if mark else spelled).encode()).hexdigest()[:16]}"
    return f"{spelled}={digest}" if mark else digest


def _url_within(value: str) -> str:
    """Return a value that holds a URL or a query of its own without what signs that."""
    plain = unquote(value)
    path, mark, query = plain.rpartition("?")
    kept = "&".join(pair for pair in query.split("&") if not is_signed(pair) and not _MOMENT.fullmatch(pair[2:]))
    cleaned = path + (mark + kept if kept else "")
    return value if cleaned == plain else quote(cleaned, safe="/:")


def _is_plain(value: str) -> bool:
    """Return whether a value is too plain for a signature: a number, some words, the name of a file."""
    for _ in range(_DEEPEST):
        value = unquote(value)
    if not _CODED.fullmatch(value) or _FILE.search(value):
        return True
    return not any(map(_looks_random, _PART.findall(value)))


def _looks_random(part: str) -> bool:
    if part.isdecimal():
        return False
    humps = len(_HUMP.findall(part))
    return len(part) >= 32 or len(_CHANGE.findall(part)) > 1 or 4 * humps >= len(part)
