"""What of a URL's query says which file it is, and what only opens it.

Stores and CDNs sign in ever new ways, so no list of signatures is complete. A wrong decision costs differently in each
direction: a parameter wrongly left out records the answer for one file as that of another, which nobody notices; one
wrongly kept pays for a file again when its URL is signed anew. The rule, in this order:

1. At the known object stores the path is the file, with the version or view that a parameter chooses.
2. What opens a file by its name or its make is left out, and so is every moment in time, unless its name says that it
   names something.
3. A moment until which a URL is good protects nothing without a signature. If none was found by its name, it is what is
   called as signatures often are (`md5=`, `st=`), or else, beside a path or an ID that names the file, the only
   parameter that looks like a signature, or that is left at all. A moment that may merely keep an old copy from being
   shown (`t=`) proves nothing.
4. Everything else tells files apart: as it stands if its name says that it names something or its value is too plain
   for a signature, otherwise as a digest. In doubt a file is paid for twice, and no value that may open it is kept.
5. If nothing is left by then, and the path names no file either, what opens the file is all that tells it apart, and
   is kept as a digest: a token that is good for ever, or what was only taken for a signature.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cached_property
from urllib.parse import quote, unquote

import msgspec

_SIGNS = re.compile(
    r"signature|token|secret|auth(?!or)|authorization|hmac|jwt|credential|access_?key|accessid|api[_-]?key|expire|expiry|until"
    r"|passw|passcode|session|nonce|hdn(?:ts|ea|tl)|sharekey|resourcekey|bearer|cookie|deadline"
    r"|^(?:pwd|pass|_?upt|ak|sk|tk|tok|tkn|lk3s|rand|random|rnd|salt|[rsuvw]key|key-pair-id|keyname|urlprefix|hash-algorithm"
    r"|(?:tx|ws|hw)(?:abs)?(?:time|key))$"
    r"|^sign|(?<!de)(?<!as)sign$|(?:^|[_-])sig$|(?:^|[_-])policy$"
    r"|^x-[a-z0-9]+-(?!.*(?:process|version-?id)$)|^q-[a-z-]+$|^response-[a-z-]+$"
)
"""In the name of a parameter, in lower case."""
_AZURE = re.compile(r"s(?:v|s|rt|r|p|e|t|ip|pr|i|dd|aoid|uoid|cid|koid|ktid|kt|ke|ks|kv|es|ig)")
_NAMES = re.compile(r"(?:id|ids|no|number|name|file|path|object|version|document|attachment|invoice)$")
"""In the name of a parameter that says which file it is."""
_KEYS = re.compile(r"access_?key_?id|accessid|key-pair-id|session|secret|passw")
"""In the name of a parameter that names something and opens it all the same."""
_TIMES = re.compile(r"^(?:_|e|exp|t|tm|ts|st|et)$|time|stamp")
_EXPIRY = re.compile(r"expire|expiry|until|deadline|^(?:tx|ws|hw)(?:abs)?time$")
_UNTIL = re.compile(r"^(?:e|exp|et)$")
"""In the name of a moment until which a URL is good; others may only keep an old copy from being shown."""
_STORE_SIGNS = re.compile(r"^x-[a-z0-9]+-|^q-|key-pair-id|accesskeyid|^auth_key$|^_upt$")
"""In the name of a parameter that signs an address in a store or a CDN."""
_OFTEN_SIGNS = re.compile(r"^(?:md5|sha\d*|hash|digest|checksum|check|verify|ticket|[chks]|s[tg]|vt)$")
"""In the name of a parameter that is the signature of a query that expires and has none by a clearer name."""
_SELECTS = re.compile(
    r"version-?id$|^(?:snapshot|generation)$|^x-[a-z]+-process$|^image(?:view|mogr)2?\b|^(?:part|page)$"
)
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
_CODED_SHORT = re.compile(r"[A-Za-z0-9_\-+/=.~:|]+")
_IDENTIFIER = re.compile(r"\d{6,}|(?=[^/]*\d)[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""The last part of a path that is the file's ID."""
_PART = re.compile(r"[A-Za-z0-9]{12,}")
_CHANGE = re.compile(r"(?<=\d)(?=[A-Za-z])|(?<=[A-Za-z])(?=\d)")
_HUMP = re.compile(r"[a-z][A-Z]")
_DIGEST = re.compile(r"~[0-9a-f]{16}")
_OPENS = re.compile(r"^eyJ[\w-]+\.[\w-]+\.|(?:^|~)hmac=")
"""In a value that signs by its make: a web token, or one that is made of parts."""
_WITHIN = re.compile(r"[?&][^=&?]+=")
_PAIR = re.compile(r"(?<![^?&])[^?&=]++=[^?&]+")
_DEEPEST = 3
_SURELY_SIGNS = 22
"""Characters of an MD5 in base64."""
_MAY_SIGN = 5
"""Characters of the shortest value that is looked at for being a signature."""
_HANDLER = re.compile(r"^(?:get|down|show|view|open|fetch|read|preview|print|export|file|index)", re.IGNORECASE)
"""The beginning of a name in a path that is a program's, and so the same for many files."""
_GENERIC = re.compile(
    r"(?:e?invoice|fapiao|d?z?fp|receipt|document|attachment|image|img|pdf|ofd|xml|电子发票|发票)\.\w+", re.IGNORECASE
)
"""A name in a path that many files may have."""
_TELLS_APART = re.compile(r"(?<!v)\d{3}|[^\0-\x7f]", re.IGNORECASE)
"""In a path that names one file among many, a folder with its ID included."""
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def same_host(scheme: str, host: str) -> str:
    """Return a host as every spelling of it is kept: in lower case, without the port that the scheme has anyway."""
    return host.lower().removesuffix(_DEFAULT_PORTS.get(scheme.lower(), ":"))


def which_file(host: str, path: str, query: str) -> str:
    """Return the query without what signs the URL or lets it expire. Doing so again changes nothing."""
    parameters = _parameters(query)
    if _STORES.search(host.lower()):
        return "&".join(each.pair for each in parameters if _SELECTS.search(each.name))
    plain = unquote(path)
    found = _Query(parameters, plain.rpartition("/")[2])
    kept = [found.kept(each) for each in parameters]
    if not any(kept) and not _names_a_file(plain):
        kept = [_digested(each) for each in found.all_that_tells_apart]
    return "&".join(filter(None, kept))


def _names_a_file(path: str) -> bool:
    parts = _PART.findall(path)
    return bool(_INVOICE_FILE.search(path) or _TELLS_APART.search(path)) or any(map(_looks_random, parts))


def could_be_kept_of(kept: str, query: str, kept_now: str) -> bool:
    """Return whether another version may have kept `kept` of a query of which this one keeps `kept_now`."""
    before, now = ({pair for pair in each.split("&") if pair} for each in (kept, kept_now))
    if not before:
        # Earlier ones left out what opens a file also where nothing else tells it apart.
        return now <= {_digested(each) for each in _parameters(query) if each.only_opens or each.opens}
    return before <= _spellings(query) and now <= _spellings(kept)


def _parameters(query: str) -> list[_Parameter]:
    return [_Parameter.of(pair) for pair in query.split("&") if pair]


def _spellings(query: str) -> set[str]:
    return {pair for each in _parameters(query) for pair in (each.pair, _digested(each))}


def is_signed(query: str) -> bool:
    """Return whether a query, as it may stand in any text, has a parameter that may open a file."""
    pairs = _PAIR.findall(query.replace("\\u0026", "&").replace("&amp;", "&"))
    found = _Query([_Parameter.of(pair) for pair in pairs], "a.pdf")
    return found.expires or bool(found.unnamed_signatures) or any(map(_may_open, found.parameters))


class _Parameter(msgspec.Struct, frozen=True):
    """A parameter of a query: its name in lower case and decoded, its name and value as they stand."""

    pair: str
    name: str
    spelled: str
    mark: str
    value: str

    @classmethod
    def of(cls, pair: str) -> _Parameter:
        spelled, mark, value = pair.partition("=")
        return cls(pair, unquote(spelled).lower(), spelled, mark, value)

    @property
    def names(self) -> bool:
        """Whether its name says that it says which file it is."""
        return _NAMES.search(self.name) is not None

    @property
    def only_opens(self) -> bool:
        """Whether it signs by its name, and does not say which file it is as well."""
        return _SIGNS.search(self.name) is not None and (not self.names or _KEYS.search(self.name) is not None)

    @property
    def opens(self) -> bool:
        """Whether its value is of a make that signs."""
        return _OPENS.search(unquote(self.value)) is not None

    @property
    def has_url(self) -> bool:
        """Whether its value holds a URL or a query of its own."""
        return _WITHIN.search(unquote(self.value)) is not None

    @property
    def is_moment(self) -> bool:
        """Whether it says until when a URL is good, or since when."""
        is_time = _TIMES.search(self.name) is not None and not self.names
        return is_time and _MOMENT.fullmatch(self.value) is not None

    @property
    def expires(self) -> bool:
        """Whether it says until when a URL is good."""
        return _EXPIRY.search(self.name) is not None or (self.is_moment and _UNTIL.search(self.name) is not None)

    @property
    def often_signs(self) -> bool:
        is_small_number = self.value.isdecimal() and len(self.value) < _MAY_SIGN
        return _OFTEN_SIGNS.search(self.name) is not None and not is_small_number

    @property
    def is_opaque(self) -> bool:
        """Whether its value may be a short signature: neither a number nor words."""
        value = unquote(self.value)
        if len(value) < _MAY_SIGN or _FILE.search(value) or not _CODED_SHORT.fullmatch(value):
            return False
        return _CHANGE.search(value) is not None or _HUMP.search(value) is not None


class _Query:
    """The parameters of one query, and what they are beside each other."""

    def __init__(self, parameters: list[_Parameter], file_name: str) -> None:
        self.parameters = parameters
        names = {each.name for each in parameters}
        self._is_azure = "sig" in names and bool(names & {"sv", "se", "sp"})
        in_path = _INVOICE_FILE.search(f"/{file_name}") is not None or _IDENTIFIER.fullmatch(file_name) is not None
        self._is_particular = in_path and _HANDLER.search(file_name) is None
        self._is_generic = _GENERIC.fullmatch(file_name) is not None

    def kept(self, each: _Parameter) -> str:
        """Return what is kept of a parameter."""
        if self._is_left_out(each) or each in self.unnamed_signatures:
            return ""
        if each.has_url:
            return f"{each.spelled}={_url_within(each.value)}"
        if each.names and _SIGNS.search(each.name):
            return _digested(each)
        plain = each.value if each.mark else each.spelled
        if _DIGEST.fullmatch(plain) or each.names:
            return each.pair
        if _is_plain(plain):
            return _digested(each) if self._may_be_signed_by(each) else each.pair
        # Where the query is signed and the path names a file, what is as long as a signature is taken for one, but not
        # beside another under a name that many files may have.
        is_all_that_signs = self._is_signed and not (self._is_generic and self._is_signed_by_name)
        is_signature = self._is_particular and is_all_that_signs and len(unquote(plain)) >= _SURELY_SIGNS
        return "" if is_signature else _digested(each)

    def _is_left_out(self, each: _Parameter) -> bool:
        by_azure = self._is_azure and _AZURE.fullmatch(each.name) is not None
        return by_azure or each.only_opens or each.is_moment or each.opens

    @cached_property
    def _is_signed(self) -> bool:
        return self._is_azure or any(_SIGNS.search(each.name) or each.is_moment for each in self.parameters)

    @cached_property
    def _is_signed_by_name(self) -> bool:
        return self._is_azure or any(
            each.opens or (each.only_opens and not _EXPIRY.search(each.name)) for each in self.parameters
        )

    @cached_property
    def expires(self) -> bool:
        return any(each.expires for each in self.parameters)

    @property
    def all_that_tells_apart(self) -> Iterable[_Parameter]:
        """What opens the file, unless it signs an address until a moment, as stores do."""
        signs_an_address = self.expires or any(
            each.is_moment or _STORE_SIGNS.search(each.name) for each in self.parameters
        )
        return self.unnamed_signatures if signs_an_address else self.parameters

    @cached_property
    def _rest(self) -> frozenset[_Parameter]:
        """What neither opens the file nor says by its name which it is."""
        return frozenset(
            each
            for each in self.parameters
            if each.mark
            and not (self._is_left_out(each) or each.names or _SELECTS.search(each.name))
            and not (_DIGEST.fullmatch(each.value) or each.has_url)
        )

    @cached_property
    def unnamed_signatures(self) -> frozenset[_Parameter]:
        """The signature of a query that expires and has none that is called so."""
        if self._is_signed_by_name or not self.expires:
            return frozenset()
        opaque = frozenset(each for each in self._rest if each.is_opaque)
        usual = frozenset(each for each in self._rest if each.often_signs)
        if found := usual & opaque or usual:
            return found
        left: frozenset[_Parameter] = frozenset()
        if self._is_particular:
            left = opaque or self._rest
        elif any(each.names for each in self.parameters):
            left = opaque
        return left if len(left) == 1 and not next(iter(left)).value.isdecimal() else frozenset()

    def _may_be_signed_by(self, each: _Parameter) -> bool:
        if self._is_signed_by_name or self.unnamed_signatures or each not in self._rest or each.value.isdecimal():
            return False
        return self.expires or (each.is_opaque and any(other.is_moment for other in self.parameters))


def _may_open(each: _Parameter) -> bool:
    if _SIGNS.search(each.name) or each.opens or not (each.names or _is_plain(each.value)):
        return True
    return each.has_url and _url_within(each.value) != each.value


def _digested(each: _Parameter) -> str:
    if _DIGEST.fullmatch(each.value or each.spelled):
        return each.pair
    digest = f"~{hashlib.sha256((each.value if each.mark else each.spelled).encode()).hexdigest()[:16]}"
    return f"{each.spelled}={digest}" if each.mark else digest


def _url_within(value: str) -> str:
    """Return a value that holds a URL or a query of its own without what signs that."""
    plain = unquote(value)
    path, mark, query = plain.rpartition("?")
    kept = which_file(path.partition("://")[2].partition("/")[0], path, query)
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
