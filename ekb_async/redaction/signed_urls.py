"""The policy for signed URLs: which parameters of a URL identify its file, and which only grant access to it.

Everything that stores, compares or shows a URL uses the functions of this module. Two URLs name the same file if they
are equal `without_signature`, which is also the form that is stored. A URL that `has_credentials` must not be stored at
all where its signature cannot be found again. A reply is stored `without_signed_queries`. A message or a `repr` shows a
URL `without_query`, and masks all `query_values` that a reply quotes.

Object stores and CDNs keep inventing ways to sign a URL, so no list of signatures is complete. The two possible
mistakes differ in cost. A parameter wrongly removed stores the result of one file as that of another, unnoticed. A
parameter wrongly kept makes the same file billed again when its URL is signed again. The rules, in this order:

1. At known object stores the path identifies the file, together with a parameter that selects a version or a view.
2. A parameter that grants access, by its name or by the format of its value, is removed. So is every timestamp, unless
   the parameter's name identifies something.
3. An expiry time protects nothing without a signature. If no parameter is a signature by its name, the signature is the
   one with a name often used for signatures (`md5=`, `st=`). Failing that, beside a path or an ID that identifies the
   file, it is the only parameter that looks like a signature, or the only one left. A timestamp that may merely bypass
   a cache (`t=`) is no evidence of a signature. In a signed query beside such a path, every random value as long as a
   signature is one.
4. All other parameters identify the file. They are kept as they are if the name identifies something or the value is
   too simple for a signature, otherwise as a digest. So in an unclear case a file is billed twice, and no value that
   may grant access is stored.
5. If nothing is left then, and the path identifies no file either, the parameters that grant access are the only
   identification and are kept as a digest: a token without expiry, or a parameter mistaken for a signature.
"""

from __future__ import annotations

import enum
import hashlib
import re
from functools import cached_property
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec

from ekb_async.redaction import url_names

_FILE = re.compile(r"[^/]\.[a-z][a-z0-9]{1,4}$", re.IGNORECASE)
_TIME = re.compile(r"[1-4]\d{9}(?:\d{3})?|(?:0x)?[4-9a-f][0-9a-f]{7}|\d{4}-?\d\d-?\d\dT[\d:.%A]+Z?", re.IGNORECASE)
_LONG_TOKEN = re.compile(r"[A-Za-z0-9_\-+/=.~:|]{12,}")
_TOKEN = re.compile(r"[A-Za-z0-9_\-+/=.~:|]+")
"""Values whose characters are all those of encoded signatures."""
_WORD = re.compile(r"[A-Za-z0-9]{12,}")
"""A run of letters and digits that is long enough for a random ID."""
_LETTER_DIGIT_CHANGE = re.compile(r"(?<=\d)(?=[A-Za-z])|(?<=[A-Za-z])(?=\d)")
_CAMEL_CASE = re.compile(r"[a-z][A-Z]")
_DIGEST = re.compile(r"~[0-9a-f]{16}")
_SIGNED_VALUE = re.compile(r"^eyJ[\w-]+\.[\w-]+\.|(?:^|~)hmac=")
"""A value that is a signature by its format: a JSON web token, or one composed of fields with an HMAC."""
_QUERY_WITHIN = re.compile(r"[?&][^=&?]+=")
# Stored identities of files depend on these numbers, so they are no settings.
_MAX_DECODINGS = 3
_MD5_BASE64_CHARACTERS = 22
_SHORTEST_SIGNATURE_CHARACTERS = 5

# JSON within a text has its own escapes: a query continues after \u0026 and ends at a quotation mark.
_QUERY_IN_TEXT = re.compile(r"""\?(?:[^\s"'<>\\]++|\\u[0-9a-fA-F]{4}|\\/)*+""")
_JSON_ESCAPE = re.compile(r"\\u00([0-7][0-9a-fA-F])")
_NAME_IN_TEXT = re.compile(r"(?<![a-z0-9_.-])([a-z0-9_.-]++)(?:=|%3d)", re.IGNORECASE)
URL_USER = re.compile(r"""(?<=://)[^\s/?#"'<>\\]+@""")
"""The user and the password of a URL within a text."""


def without_signature(url: str) -> str:
    """Return the URL without parameters that sign it or let it expire, and with its host normalised.

    The result identifies the file and is safe to store. The function is idempotent.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return without_query(url)
    host = parts.netloc.rpartition("@")[2].lower().removesuffix(url_names.DEFAULT_PORTS.get(parts.scheme, ":"))
    return urlunsplit((parts.scheme, host, parts.path, _identifying_query(host, parts.path, parts.query), ""))


def is_stored_form_of(stored: str, url: str) -> bool:
    """Return whether this or another version of the package may have stored `stored` for a URL."""
    now = without_signature(url)
    if without_signature(stored) == now:
        return True
    address, _, query = without_fragment(stored).partition("?")
    address_now, _, query_now = now.partition("?")
    if without_signature(address) != address_now:
        return False
    sent = without_fragment(url).partition("?")[2]
    before, kept = (set(filter(None, each.split("&"))) for each in (query, query_now))
    if not before:
        # Earlier versions removed parameters that grant access even if nothing else identified the file.
        return kept <= {_digested(each.pair) for each in _parameters(sent) if each.role in _REMOVED}
    return before <= _stored_forms(sent) and kept <= _stored_forms(query)


def has_credentials(url: str) -> bool:
    """Return whether a URL has a user, or a query with a parameter that signs it or lets it expire."""
    query = without_fragment(url).partition("?")[2]
    return URL_USER.search(url) is not None or without_signature(url).partition("?")[2] != query


def without_signed_queries(text: str) -> str:
    """Return a text without those queries in it that sign a URL; the rest is unchanged."""
    return _QUERY_IN_TEXT.sub(lambda found: "" if _may_be_signed(found[0]) else found[0], text)


def without_query(url: str) -> str:
    """Return the URL without its query, safe to show when it is unknown which parameters sign it."""
    return url.partition("?")[0]


def query_values(url: str) -> tuple[str, ...]:
    """Return the values in the query of a URL, literal and decoded; in a signed URL these are secrets."""
    values = [pair.partition("=")[2] for pair in url.partition("?")[2].split("&")]
    return (*values, *map(unquote, values))


def without_fragment(url: str) -> str:
    """Return the URL without its fragment."""
    return url.partition("#")[0]


class _Role(enum.Enum):
    """What a parameter is for, by its name and the format of its value."""

    SIGNATURE = enum.auto()
    EXPIRY = enum.auto()
    TIME = enum.auto()
    FILE = enum.auto()
    OTHER = enum.auto()


_REMOVED = frozenset({_Role.SIGNATURE, _Role.EXPIRY, _Role.TIME})


class _Parameter(msgspec.Struct, frozen=True):
    """One parameter of a query, as it is in the query; `name` is decoded and in lower case."""

    pair: str
    name: str
    value: str
    """The value; the whole parameter if it has no `=`."""
    role: _Role

    @classmethod
    def of(cls, pair: str) -> _Parameter:
        _, equals_sign, value = pair.partition("=")
        name = _name(pair)
        return cls(pair, name, value if equals_sign else pair, _role(name, value))

    @property
    def is_opaque(self) -> bool:
        """Whether the value may be a short signature: neither a number nor words."""
        value = unquote(self.value)
        if len(value) < _SHORTEST_SIGNATURE_CHARACTERS or _FILE.search(value) or not _TOKEN.fullmatch(value):
            return False
        return _LETTER_DIGIT_CHANGE.search(value) is not None or _CAMEL_CASE.search(value) is not None

    @property
    def is_long(self) -> bool:
        """Whether the value is random and as long as a signature."""
        return len(unquote(self.value)) >= _MD5_BASE64_CHARACTERS and not _is_simple(self.value)

    @property
    def often_signs(self) -> bool:
        """Whether signatures often have this name, and the value is not a small number."""
        is_small_number = self.value.isdecimal() and len(self.value) < _SHORTEST_SIGNATURE_CHARACTERS
        return url_names.OFTEN_SIGNS.search(self.name) is not None and not is_small_number

    @property
    def has_url(self) -> bool:
        """Whether the value contains a URL or a query."""
        return _QUERY_WITHIN.search(unquote(self.value)) is not None


def _name(pair: str) -> str:
    return unquote(pair.partition("=")[0]).lower()


def _role(name: str, value: str) -> _Role:
    identifies = url_names.IDENTIFIES.search(name) is not None
    if url_names.SIGNS.search(name) and (not identifies or url_names.IDENTIFIES_A_KEY.search(name)):
        return _Role.EXPIRY if url_names.EXPIRY.search(name) else _Role.SIGNATURE
    if _SIGNED_VALUE.search(unquote(value)):
        return _Role.SIGNATURE
    if identifies:
        return _Role.FILE
    if url_names.TIMESTAMP.search(name) and _TIME.fullmatch(value):
        return _Role.EXPIRY if url_names.SHORT_EXPIRY.search(name) else _Role.TIME
    return _Role.OTHER


def _parameters(query: str) -> list[_Parameter]:
    """Return the parameters of a query. The names of an Azure SAS grant access only beside its signature."""
    found = [_Parameter.of(pair) for pair in query.split("&") if pair]
    names = {each.name for each in found}
    if "sig" in names and names & {"sv", "se", "sp"}:
        found = [
            msgspec.structs.replace(p, role=_Role.SIGNATURE) if url_names.AZURE.fullmatch(p.name) else p for p in found
        ]
    return found


class _Query:
    """The parameters of one query, classified together."""

    def __init__(self, parameters: list[_Parameter], file_name: str) -> None:
        self._parameters = parameters
        self.roles = {each.role for each in parameters}
        is_file = (
            url_names.INVOICE_FILE.search(f"/{file_name}") is not None
            or url_names.IDENTIFIER.fullmatch(file_name) is not None
        )
        self._is_path_specific = is_file and url_names.HANDLER.search(file_name) is None
        self._is_signed = _Role.SIGNATURE in self.roles
        # If there is a signature by name and many files may share the file name, a long value identifies the file.
        self._may_have_long = self._is_path_specific and not (
            self._is_signed and url_names.GENERIC.fullmatch(file_name)
        )

    def stored_form(self, each: _Parameter) -> str:
        """Return the parameter as it is stored: unchanged, as a digest, or "" if it is removed."""
        if each.role in _REMOVED or each in self.unnamed_signatures:
            return ""
        if each.has_url:
            return each.pair.removesuffix(each.value) + _unsigned_value(each.value)
        is_digested = url_names.SIGNS.search(each.name) if each.role is _Role.FILE else self._may_be_signature(each)
        return _digested(each.pair) if is_digested else each.pair

    @property
    def last_resort(self) -> list[_Parameter]:
        """The parameters that identify a file if nothing else does.

        Signatures of an address with an expiry time, as object stores make them, are not among them.
        """
        is_of_address = _Role.EXPIRY in self.roles or _Role.TIME in self.roles
        if is_of_address or any(url_names.SIGNS_AN_ADDRESS.search(each.name) for each in self._parameters):
            return [each for each in self._parameters if each in self.unnamed_signatures]
        return self._parameters

    @cached_property
    def unnamed_signatures(self) -> frozenset[_Parameter]:
        """The signatures that have no name of one (rule 3)."""
        found: frozenset[_Parameter] = frozenset()
        if self._may_have_long and self.roles & _REMOVED:
            found = frozenset(each for each in self._unclassified if each.is_long)
        if self._is_signed or _Role.EXPIRY not in self.roles:
            return found
        return found | self._likeliest_signatures

    @property
    def _likeliest_signatures(self) -> frozenset[_Parameter]:
        opaque = frozenset(each for each in self._unclassified if each.is_opaque)
        usual = frozenset(each for each in self._unclassified if each.often_signs)
        if usual:
            return usual & opaque or usual
        candidates = opaque
        if self._is_path_specific:
            candidates = opaque or self._unclassified
        elif _Role.FILE not in self.roles:
            return frozenset()
        is_only_one = len(candidates) == 1 and not next(iter(candidates)).value.isdecimal()
        return candidates if is_only_one else frozenset()

    @cached_property
    def _unclassified(self) -> frozenset[_Parameter]:
        """The parameters that neither grant access nor identify the file by their names."""
        return frozenset(
            each
            for each in self._parameters
            if each.role is _Role.OTHER
            and "=" in each.pair
            and not (url_names.SELECTS.search(each.name) or _DIGEST.fullmatch(each.value) or each.has_url)
        )

    def _may_be_signature(self, each: _Parameter) -> bool:
        if not _is_simple(each.value):
            return True
        if self._is_signed or self.unnamed_signatures or each not in self._unclassified:
            return False
        has_time = _Role.EXPIRY in self.roles or (_Role.TIME in self.roles and each.is_opaque)
        return has_time and not each.value.isdecimal()


def _identifying_query(host: str, path: str, query: str) -> str:
    """Return the query without parameters that sign the URL or let it expire. The function is idempotent."""
    if not query:
        return ""
    if url_names.STORES.search(host.lower()):
        return "&".join(pair for pair in query.split("&") if url_names.SELECTS.search(_name(pair)))
    path, parameters = unquote(path), _parameters(query)
    found = _Query(parameters, path.rpartition("/")[2])
    stored = [found.stored_form(each) for each in parameters]
    if not any(stored) and not _identifies_a_file(path):
        stored = [_digested(each.pair) for each in found.last_resort]
    return "&".join(filter(None, stored))


def _identifies_a_file(path: str) -> bool:
    is_unique = url_names.INVOICE_FILE.search(path) is not None or url_names.IN_UNIQUE_PATH.search(path) is not None
    return is_unique or any(map(_looks_random, _WORD.findall(path)))


def _unsigned_value(value: str) -> str:
    """Return a value that contains a URL or a query without the signature in it."""
    decoded = unquote(value)
    path, question_mark, query = decoded.rpartition("?")
    stored = _identifying_query(path.partition("://")[2].partition("/")[0], path, query)
    unsigned = path + (question_mark + stored if stored else "")
    return value if unsigned == decoded else quote(unsigned, safe="/:")


def _may_be_signed(query: str) -> bool:
    """Return whether a query found in any text has a parameter that may grant access to a file."""
    query = _JSON_ESCAPE.sub(lambda found: chr(int(found[1], 16)), query).replace("&amp;", "&")
    if any(url_names.SIGNS.search(name.lower()) for name in _NAME_IN_TEXT.findall(query)):
        return True
    parameters = [_Parameter.of(pair) for pair in re.split("[?&]", query) if pair.partition("=")[2]]
    found = _Query(parameters, "a.pdf")
    return _Role.EXPIRY in found.roles or bool(found.unnamed_signatures) or any(map(_may_grant_access, parameters))


def _may_grant_access(each: _Parameter) -> bool:
    if url_names.SIGNS.search(each.name) or each.role is _Role.SIGNATURE:
        return True
    is_harmless = each.role is _Role.FILE or _is_simple(each.value)
    return not is_harmless or (each.has_url and _unsigned_value(each.value) != each.value)


def _stored_forms(query: str) -> set[str]:
    return {form for pair in query.split("&") if pair for form in (pair, _digested(pair))}


def _digested(pair: str) -> str:
    """Return a parameter with a digest in place of its value, or in place of a parameter without `=`."""
    name, equals_sign, value = pair.partition("=") if "=" in pair else ("", "", pair)
    if _DIGEST.fullmatch(value):
        return pair
    return f"{name}{equals_sign}~{hashlib.sha256(value.encode()).hexdigest()[:16]}"


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
