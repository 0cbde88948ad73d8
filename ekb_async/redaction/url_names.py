"""The names of URL parameters, of object stores and of files by which `signed_urls` decides.

Everything here is data: to support one more store, CDN or way to sign, add a row. All names are in lower case.
"""

from __future__ import annotations

import re

_SIGN_AN_ADDRESS = {
    "AWS S3 4, Aliyun OSS 4, Huawei OBS, Volcengine TOS, Google": r"^x-[a-z0-9]+-(?!.*(?:process|version-?id)$)",
    "AWS S3 2, Aliyun OSS, Huawei OBS, Kingsoft KS3": r"accesskeyid",
    "Tencent COS": r"^q-[a-z-]+$",
    "Amazon CloudFront": r"key-pair-id",
    "Aliyun CDN": r"^auth_key$",
    "UPYUN": r"^_upt$",
}
"""Names of parameters that sign an address in an object store or a CDN."""
_GRANT_ACCESS = {
    "AWS S3": r"^response-[a-z-]+$",
    "Amazon CloudFront": r"^hash-algorithm$|(?:^|[_-])policy$",
    "Google": r"accessid|^(?:keyname|urlprefix)$|resourcekey",
    "Akamai": r"hdn(?:ts|ea|tl)",
    "Tencent, Wangsu and Huawei CDN": r"^(?:tx|ws|hw)(?:abs)?(?:time|key)$",
    "ByteDance": r"^lk3s$",
    "QQ": r"^[rsuvw]key$|sharekey",
    "signatures": r"signature|hmac|^sign|(?<!de)(?<!as)sign$|(?:^|[_-])sig$|^(?:rand|random|rnd|salt)$|nonce",
    "tokens": r"token|jwt|bearer|session|cookie|^(?:ak|sk|tk|tok|tkn|upt)$",
    "keys": r"secret|auth(?!or)|authorization|credential|access_?key|api[_-]?key|passw|passcode|^(?:pwd|pass)$",
    "ends": r"expire|expiry|until|deadline",
}
"""Names of parameters that grant access, by those who use them."""
AZURE = re.compile(r"s(?:v|s|rt|r|p|e|t|ip|pr|i|dd|aoid|uoid|cid|koid|ktid|kt|ke|ks|kv|es|ig)")
"""Names of an Azure SAS, which mean nothing without `sig`."""
SIGNS_AN_ADDRESS = re.compile("|".join(_SIGN_AN_ADDRESS.values()))
SIGNS = re.compile("|".join((*_SIGN_AN_ADDRESS.values(), *_GRANT_ACCESS.values())))
EXPIRY = re.compile(r"expire|expiry|until|deadline|^(?:tx|ws|hw)(?:abs)?time$")
TIMESTAMP = re.compile(r"^(?:_|e|exp|t|tm|ts|st|et)$|time|stamp")
"""Names of parameters whose value is a time, if it looks like one."""
SHORT_EXPIRY = re.compile(r"^(?:e|exp|et)$")
"""Names of timestamps that are expiry times; other timestamps may only bypass a cache."""
OFTEN_SIGNS = re.compile(r"^(?:md5|sha\d*|hash|digest|checksum|check|verify|ticket|[chks]|s[tg]|vt)$")
"""Names of parameters that are the signature if the query expires and has no clearer one."""
IDENTIFIES = re.compile(r"(?:id|ids|no|number|name|file|path|object|version|document|attachment|invoice)$")
"""Names of parameters that identify a file."""
IDENTIFIES_A_KEY = re.compile(r"access_?key_?id|accessid|key-pair-id|session|secret|passw")
"""Names of parameters that match `IDENTIFIES` although they grant access."""
SELECTS = re.compile(
    r"version-?id$|^(?:snapshot|generation)$|^x-[a-z]+-process$|^image(?:view|mogr)2?\b|^(?:part|page)$"
)
"""Names of parameters that select a version or a view of an object."""

STORES = re.compile(
    r"(?:^|\.)(?:oss-[a-z0-9-]+\.aliyuncs\.com|cos\.[a-z0-9-]+\.(?:myqcloud\.com|tencentcos\.cn)"
    r"|s3[a-z0-9.-]*\.amazonaws\.com(?:\.cn)?|obs\.[a-z0-9-]+\.myhuaweicloud\.com|(?:[a-z]+\.)?bcebos\.com"
    r"|tos-[a-z0-9-]+\.(?:i?volces|volcengine)\.com|ks3-[a-z0-9-]+\.ksyuncs\.com|qiniucdn\.com|qiniudn\.com"
    r"|clouddn\.com|qbox\.me|qnssl\.com|upaiyun\.com|upcdn\.net|blob\.core\.(?:windows\.net|chinacloudapi\.cn)"
    r"|storage\.googleapis\.com|r2\.cloudflarestorage\.com|digitaloceanspaces\.com|nosdn\.127\.net|ufileos\.com)"
    r"(?::\d+)?$"
)
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
INVOICE_FILE = re.compile(
    r"[^/]\.(?:pdf|ofd|xml|zip|rar|7z|eml|docx?|xlsx?|jpe?g|png|gif|bmp|tiff?|webp|heic)$", re.IGNORECASE
)
IDENTIFIER = re.compile(r"\d{6,}|(?=[^/]*\d)[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""A last path segment that is the ID of the file."""
HANDLER = re.compile(r"^(?:get|down|show|view|open|fetch|read|preview|print|export|file|index)", re.IGNORECASE)
"""The start of a last path segment that names a script, and so is the same for many files."""
GENERIC = re.compile(
    r"(?:e?invoice|fapiao|d?z?fp|receipt|document|attachment|image|img|pdf|ofd|xml|电子发票|发票)\.\w+", re.IGNORECASE
)
"""A last path segment that many files may share."""
IN_UNIQUE_PATH = re.compile(r"(?<!v)\d{3}|[^\0-\x7f]", re.IGNORECASE)
"""A part of a path that identifies one file among many, which may be a folder with an ID."""
