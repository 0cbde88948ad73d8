"""Tell the parameters of a URL that identify a file from those that only grant access to it.

Object stores and CDNs keep inventing ways to sign a URL, so no list of signatures is complete. The two possible
mistakes differ in cost. A parameter wrongly removed stores the result of one file as that of another, unnoticed. A
parameter wrongly kept makes the same file billed again when its URL is signed again. The rules, in this order:

1. At known object stores the path identifies the file, together with a parameter that selects a version or a view.
2. A parameter that grants access, by its name or by the format of its value, is removed. So is every timestamp, unless
   the parameter's name identifies something.
3. An expiry time protects nothing without a signature. If no parameter is a signature by its name, the signature is the
   one with a name often used for signatures (`md5=`, `st=`). Failing that, beside a path or an ID that identifies the
   file, it is the only parameter that looks like a signature, or the only one left. A timestamp that may merely bypass
   a cache (`t=`) is no evidence of a signature.
4. All other parameters identify the file. They are kept as they are if the name identifies something or the value is
   too simple for a signature, otherwise as a digest. So in an unclear case a file is billed twice, and no value that
   may grant access is stored.
5. If nothing is left then, and the path identifies no file either, the parameters that grant access are the only
   identification and are kept as a digest: a token without expiry, or a parameter mistaken for a signature.
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
"""Names, in lower case, of parameters that sign a URL or grant access. All patterns of names are for lower case."""
_AZURE = re.compile(r"s(?:v|s|rt|r|p|e|t|ip|pr|i|dd|aoid|uoid|cid|koid|ktid|kt|ke|ks|kv|es|ig)")
_IDENTIFIES = re.compile(r"(?:id|ids|no|number|name|file|path|object|version|document|attachment|invoice)$")
"""Names of parameters that identify a file."""
_IDENTIFIES_A_KEY = re.compile(r"access_?key_?id|accessid|key-pair-id|session|secret|passw")
"""Names of parameters that match `_IDENTIFIES` although they grant access."""
_TIMESTAMP = re.compile(r"^(?:_|e|exp|t|tm|ts|st|et)$|time|stamp")
"""Names of parameters whose value is a time, if it looks like one."""
_EXPIRY = re.compile(r"expire|expiry|until|deadline|^(?:tx|ws|hw)(?:abs)?time$")
_SHORT_EXPIRY = re.compile(r"^(?:e|exp|et)$")
"""Names of timestamps that are expiry times; other timestamps may only bypass a cache."""
_STORE_SIGNS = re.compile(r"^x-[a-z0-9]+-|^q-|key-pair-id|accesskeyid|^auth_key$|^_upt$")
"""Names of parameters that sign an address in an object store or a CDN."""
_OFTEN_SIGNS = re.compile(r"^(?:md5|sha\d*|hash|digest|checksum|check|verify|ticket|[chks]|s[tg]|vt)$")
"""Names of parameters that are the signature if the query expires and has no clearer one."""
_SELECTS = re.compile(
    r"version-?id$|^(?:snapshot|generation)$|^x-[a-z]+-process$|^image(?:view|mogr)2?\b|^(?:part|page)$"
)
"""Names of parameters that select a version or a view of an object."""
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
_TIME = re.compile(r"[1-4]\d{9}(?:\d{3})?|(?:0x)?[4-9a-f][0-9a-f]{7}|\d{4}-?\d\d-?\d\dT[\d:.%A]+Z?", re.IGNORECASE)
_LONG_TOKEN = re.compile(r"[A-Za-z0-9_\-+/=.~:|]{12,}")
_TOKEN = re.compile(r"[A-Za-z0-9_\-+/=.~:|]+")
"""Values whose characters are all those of encoded signatures."""
_IDENTIFIER = re.compile(r"\d{6,}|(?=[^/]*\d)[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""A last path segment that is the ID of the file."""
_WORD = re.compile(r"[A-Za-z0-9]{12,}")
"""A run of letters and digits that is long enough for a random ID."""
_LETTER_DIGIT_CHANGE = re.compile(r"(?<=\d)(?=[A-Za-z])|(?<=[A-Za-z])(?=\d)")
_CAMEL_CASE = re.compile(r"[a-z][A-Z]")
_DIGEST = re.compile(r"~[0-9a-f]{16}")
_SIGNED_VALUE = re.compile(r"^eyJ[\w-]+\.[\w-]+\.|(?:^|~)hmac=")
"""A value that is a signature by its format: a JSON web token, or one composed of fields with an HMAC."""
_QUERY_WITHIN = re.compile(r"[?&][^=&?]+=")
_PAIR = re.compile(r"(?<![^?&])[^?&=]++=[^?&]+")
# Stored identities of files depend on these numbers, so they are no settings.
_MAX_DECODINGS = 3
_MD5_BASE64_CHARACTERS = 22
_SHORTEST_SIGNATURE_CHARACTERS = 5
_HANDLER = re.compile(r"^(?:get|down|show|view|open|fetch|read|preview|print|export|file|index)", re.IGNORECASE)
"""The start of a last path segment that names a script, and so is the same for many files."""
_GENERIC = re.compile(
    r"(?:e?invoice|fapiao|d?z?fp|receipt|document|attachment|image|img|pdf|ofd|xml|电子发票|发票)\.\w+", re.IGNORECASE
)
"""A last path segment that many files may share."""
_IN_UNIQUE_PATH = re.compile(r"(?<!v)\d{3}|[^\0-\x7f]", re.IGNORECASE)
"""A part of a path that identifies one file among many, which may be a folder with an ID."""
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def normalized_host(scheme: str, host: str) -> str:
    """Return a host in lower case, without the default port of the scheme."""
    return host.lower().removesuffix(_DEFAULT_PORTS.get(scheme.lower(), ":"))


def identifying_query(host: str, path: str, query: str) -> str:
    """Return the query without parameters that sign the URL or let it expire. The function is idempotent."""
    parameters = _parameters(query)
    if _STORES.search(host.lower()):
        return "&".join(each.pair for each in parameters if _SELECTS.search(each.name))
    decoded_path = unquote(path)
    found = _Query(parameters, decoded_path.rpartition("/")[2])
    stored = [found.stored_form(each) for each in parameters]
    if not any(stored) and not _identifies_a_file(decoded_path):
        stored = [_digested(each) for each in found.last_resort]
    return "&".join(filter(None, stored))


def _identifies_a_file(path: str) -> bool:
    words = _WORD.findall(path)
    return bool(_INVOICE_FILE.search(path) or _IN_UNIQUE_PATH.search(path)) or any(map(_looks_random, words))


def may_be_stored_query(stored: str, query: str, stored_now: str) -> bool:
    """Return whether another version may have stored `stored` for a query for which this one stores `stored_now`."""
    before, now = ({pair for pair in each.split("&") if pair} for each in (stored, stored_now))
    if not before:
        # Earlier versions removed parameters that grant access even if nothing else identified the file.
        return now <= {_digested(each) for each in _parameters(query) if each.grants_access or each.has_signed_value}
    return before <= _stored_forms(query) and now <= _stored_forms(stored)


def _parameters(query: str) -> list[_Parameter]:
    return [_Parameter.of(pair) for pair in query.split("&") if pair]


def _stored_forms(query: str) -> set[str]:
    return {pair for each in _parameters(query) for pair in (each.pair, _digested(each))}


def is_signed(query: str) -> bool:
    """Return whether a query found in any text has a parameter that may grant access to a file."""
    pairs = _PAIR.findall(query.replace("\\u0026", "&").replace("&amp;", "&"))
    found = _Query([_Parameter.of(pair) for pair in pairs], "a.pdf")
    return found.expires or bool(found.unnamed_signatures) or any(map(_may_grant_access, found.parameters))


class _Parameter(msgspec.Struct, frozen=True):
    """One parameter of a query."""

    pair: str
    name: str
    """The name decoded and in lower case."""
    raw_name: str
    equals_sign: str
    """`=`, or "" if the parameter has no value."""
    value: str
    """The value as it is in the query."""

    @classmethod
    def of(cls, pair: str) -> _Parameter:
        name, equals_sign, value = pair.partition("=")
        return cls(pair, unquote(name).lower(), name, equals_sign, value)

    @property
    def identifies(self) -> bool:
        """Whether the parameter identifies the file, by its name."""
        return _IDENTIFIES.search(self.name) is not None

    @property
    def grants_access(self) -> bool:
        """Whether the parameter signs the URL, by its name, and does not identify the file as well."""
        is_signature = _SIGNS.search(self.name) is not None
        return is_signature and (not self.identifies or _IDENTIFIES_A_KEY.search(self.name) is not None)

    @property
    def has_signed_value(self) -> bool:
        """Whether the value is a signature, by its format."""
        return _SIGNED_VALUE.search(unquote(self.value)) is not None

    @property
    def has_url(self) -> bool:
        """Whether the value contains a URL or a query."""
        return _QUERY_WITHIN.search(unquote(self.value)) is not None

    @property
    def is_timestamp(self) -> bool:
        """Whether the value is a time, such as the expiry or the start of the URL's validity."""
        has_time_name = _TIMESTAMP.search(self.name) is not None and not self.identifies
        return has_time_name and _TIME.fullmatch(self.value) is not None

    @property
    def expires(self) -> bool:
        """Whether the parameter is the expiry time of the URL."""
        if _EXPIRY.search(self.name) is not None:
            return True
        return self.is_timestamp and _SHORT_EXPIRY.search(self.name) is not None

    @property
    def often_signs(self) -> bool:
        """Whether signatures often have this name, and the value is not a small number."""
        is_small_number = self.value.isdecimal() and len(self.value) < _SHORTEST_SIGNATURE_CHARACTERS
        return _OFTEN_SIGNS.search(self.name) is not None and not is_small_number

    @property
    def is_opaque(self) -> bool:
        """Whether the value may be a short signature: neither a number nor words."""
        value = unquote(self.value)
        is_too_short = len(value) < _SHORTEST_SIGNATURE_CHARACTERS
        if is_too_short or _FILE.search(value) or not _TOKEN.fullmatch(value):
            return False
        return _LETTER_DIGIT_CHANGE.search(value) is not None or _CAMEL_CASE.search(value) is not None


class _Query:
    """The parameters of one query, classified together."""

    def __init__(self, parameters: list[_Parameter], file_name: str) -> None:
        self.parameters = parameters
        names = {each.name for each in parameters}
        self._is_azure = "sig" in names and bool(names & {"sv", "se", "sp"})
        is_file = _INVOICE_FILE.search(f"/{file_name}") is not None or _IDENTIFIER.fullmatch(file_name) is not None
        self._is_path_specific = is_file and _HANDLER.search(file_name) is None
        self._is_generic = _GENERIC.fullmatch(file_name) is not None

    def stored_form(self, each: _Parameter) -> str:
        """Return the parameter as it is stored: unchanged, as a digest, or "" if it is removed."""
        if self._is_removed(each) or each in self.unnamed_signatures:
            return ""
        if each.has_url:
            return f"{each.raw_name}={_unsigned_value(each.value)}"
        if each.identifies and _SIGNS.search(each.name):
            return _digested(each)
        value = each.value if each.equals_sign else each.raw_name
        if _DIGEST.fullmatch(value) or each.identifies:
            return each.pair
        if _is_simple(value):
            return _digested(each) if self._may_be_signature(each) else each.pair
        # In a signed query, after a path that identifies the file, a value as long as a signature is taken for one,
        # unless there is another signature and many files may share the file name.
        is_only_signature = self._is_signed and not (self._is_generic and self._is_signed_by_name)
        is_long = len(unquote(value)) >= _MD5_BASE64_CHARACTERS
        return "" if self._is_path_specific and is_only_signature and is_long else _digested(each)

    def _is_removed(self, each: _Parameter) -> bool:
        is_azure = self._is_azure and _AZURE.fullmatch(each.name) is not None
        return is_azure or each.grants_access or each.is_timestamp or each.has_signed_value

    @cached_property
    def _is_signed(self) -> bool:
        return self._is_azure or any(_SIGNS.search(each.name) or each.is_timestamp for each in self.parameters)

    @cached_property
    def _is_signed_by_name(self) -> bool:
        return self._is_azure or any(
            each.has_signed_value or (each.grants_access and not _EXPIRY.search(each.name)) for each in self.parameters
        )

    @cached_property
    def expires(self) -> bool:
        """Whether the URL has an expiry time."""
        return any(each.expires for each in self.parameters)

    @property
    def last_resort(self) -> Iterable[_Parameter]:
        """The parameters that identify a file if nothing else does.

        Signatures of an address with an expiry time, as object stores make them, are not among them.
        """
        signs_an_address = self.expires or any(
            each.is_timestamp or _STORE_SIGNS.search(each.name) for each in self.parameters
        )
        return self.unnamed_signatures if signs_an_address else self.parameters

    @cached_property
    def _unclassified(self) -> frozenset[_Parameter]:
        """The parameters that neither grant access nor identify the file by their names."""
        return frozenset(
            each
            for each in self.parameters
            if each.equals_sign
            and not (self._is_removed(each) or each.identifies or _SELECTS.search(each.name))
            and not (_DIGEST.fullmatch(each.value) or each.has_url)
        )

    @cached_property
    def unnamed_signatures(self) -> frozenset[_Parameter]:
        """The signature of a query that expires and has none by name (rule 3)."""
        if self._is_signed_by_name or not self.expires:
            return frozenset()
        opaque = frozenset(each for each in self._unclassified if each.is_opaque)
        usual = frozenset(each for each in self._unclassified if each.often_signs)
        if found := usual & opaque or usual:
            return found
        candidates: frozenset[_Parameter] = frozenset()
        if self._is_path_specific:
            candidates = opaque or self._unclassified
        elif any(each.identifies for each in self.parameters):
            candidates = opaque
        is_only_one = len(candidates) == 1 and not next(iter(candidates)).value.isdecimal()
        return candidates if is_only_one else frozenset()

    def _may_be_signature(self, each: _Parameter) -> bool:
        if self._is_signed_by_name or self.unnamed_signatures:
            return False
        if each not in self._unclassified or each.value.isdecimal():
            return False
        return self.expires or (each.is_opaque and any(other.is_timestamp for other in self.parameters))


def _may_grant_access(each: _Parameter) -> bool:
    if _SIGNS.search(each.name) or each.has_signed_value or not (each.identifies or _is_simple(each.value)):
        return True
    return each.has_url and _unsigned_value(each.value) != each.value


def _digested(each: _Parameter) -> str:
    if _DIGEST.fullmatch(each.value or each.raw_name):
        return each.pair
    digest = f"~{hashlib.sha256((each.value if each.equals_sign else each.raw_name).encode()).hexdigest()[:16]}"
    return f"{each.raw_name}={digest}" if each.equals_sign else digest


def _unsigned_value(value: str) -> str:
    """Return a value that contains a URL or a query without the signature in it."""
    decoded = unquote(value)
    path, question_mark, query = decoded.rpartition("?")
    stored = identifying_query(path.partition("://")[2].partition("/")[0], path, query)
    unsigned = path + (question_mark + stored if stored else "")
    return value if unsigned == decoded else quote(unsigned, safe="/:")


def _is_simple(value: str) -> bool:
    """Return whether a value is too simple for a signature: a number, some words, a file name."""
    for _ in range(_MAX_DECODINGS):
        value = unquote(value)
    if not _LONG_TOKEN.fullmatch(value) or _FILE.search(value):
        return True
    return not any(map(_looks_random, _WORD.findall(value)))


def _looks_random(word: str) -> bool:
    if word.isdecimal():
        return False
    is_camel_case = 4 * len(_CAMEL_CASE.findall(word)) >= len(word)
    return len(word) >= 32 or len(_LETTER_DIGIT_CHANGE.findall(word)) > 1 or is_camel_case
