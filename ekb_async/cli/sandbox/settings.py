"""The options of `ekb sandbox`, from their texts: rates, features, and the faults that strike paid calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from ekb_async.errors import ConfigError
from ekb_async.i18n import message
from ekb_async.sandbox import Fault
from ekb_async.sandbox.vendor.rules import Rules

FEATURES = ("ocr", "verify")
_OF_FILES = ("ocr", "verify")
_PAID = (*_OF_FILES, "verify_by_id", "verify_by_fields")
_OFF = "off"
_SLOW_SECONDS = 30.0
_THROTTLED = "请求过于频繁，请稍后再试"
_RECOGNITION = "识别失败"
_PROVIDER = "第三方出现问题请稍后再试"

Make = Callable[[Iterable[str], float], Fault]


class _Kind(NamedTuple):
    """A kind of fault: what happens, how it is made, and which calls can fail so."""

    about: str
    make: Make
    calls: tuple[str, ...] = _PAID


KINDS = {
    "recognition": _Kind(
        message("refused, since nothing is recognised"),
        lambda calls, rate: Fault.answer(400, _RECOGNITION, calls=calls, rate=rate),
        _OF_FILES,
    ),
    "provider": _Kind(
        message("refused, since the recognition provider fails"),
        lambda calls, rate: Fault.answer(400, _PROVIDER, calls=calls, rate=rate),
        _OF_FILES,
    ),
    "throttled": _Kind(
        message("refused for the rate, with status 429"),
        lambda calls, rate: Fault.answer(429, _THROTTLED, calls=calls, rate=rate),
    ),
    "busy": _Kind(
        message("an error in an answer with status 200"),
        lambda calls, rate: Fault.error_in_200(calls=calls, rate=rate),
    ),
    "500": _Kind(
        message("the vendor fails with status 500"),
        lambda calls, rate: Fault.answer(500, "系统异常", calls=calls, rate=rate),
    ),
    "gateway": _Kind(
        message("a gateway answers with a web page and status 502"),
        lambda calls, rate: Fault.gateway_page(calls=calls, rate=rate),
    ),
    "slow": _Kind(
        message("the answer comes 30 s late"),
        lambda calls, rate: Fault.delay(_SLOW_SECONDS, calls=calls, rate=rate),
    ),
    "garbage": _Kind(
        message("billed, and the answer cannot be read"), lambda calls, rate: Fault.not_json(calls=calls, rate=rate)
    ),
    "cut": _Kind(
        message("billed, and the answer breaks off"), lambda calls, rate: Fault.cut_off(calls=calls, rate=rate)
    ),
    "lost": _Kind(
        message("billed, and the answer is lost"), lambda calls, rate: Fault.lost_answer(calls=calls, rate=rate)
    ),
    "reset": _Kind(
        message("the connection breaks before the call arrives"),
        lambda calls, rate: Fault.reset(calls=calls, rate=rate),
    ),
}


class Struck(msgspec.Struct, frozen=True):
    """A kind of fault, and the share of the calls that it strikes, from 0 to 1."""

    kind: str
    share: float

    @property
    def fault(self) -> Fault:
        """What strikes the calls."""
        kind = KINDS[self.kind]
        return kind.make(kind.calls, self.share)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options, checked. Rates are in calls per second, 0 for any number; `latency` is in seconds."""

    ocr_rate: float
    verify_rate: float
    latency: float
    without: tuple[str, ...]
    refuse_keys: bool
    faults: tuple[Struck, ...]
    staff: tuple[str, ...]


DEFAULT = Settings(
    ocr_rate=Rules.ocr_rate,
    verify_rate=Rules.verify_rate,
    latency=0.0,
    without=(),
    refuse_keys=False,
    faults=(),
    staff=(),
)


def rate_of(option: str, text: str) -> float:
    """Return a rate in calls per second, 0 for `off`. Raises `ConfigError` unless it is a number above 0."""
    if text == _OFF:
        return 0.0
    rate = _number(text)
    if rate is None or rate <= 0:
        raise ConfigError(f"{option} must be a number of calls per second above 0, or off, not {text!r}")
    return rate


def features_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the features that the enterprise lacks. Raises `ConfigError` for one that does not exist."""
    names = tuple(texts)
    if wrong := [name for name in names if name not in FEATURES]:
        raise ConfigError(f"--without must be one of {', '.join(FEATURES)}, not {wrong[0]!r}")
    return names


def faults_of(texts: Iterable[str]) -> tuple[Struck, ...]:
    """Return the faults of options such as `lost=1%`. Raises `ConfigError` for a wrong one, or more than 100 %."""
    found = tuple(map(_struck, texts))
    if any(sum(each.share for each in found if call in KINDS[each.kind].calls) > 1 for call in _PAID):
        raise ConfigError("the shares of --fault are more than 100% together")
    return found


def _struck(text: str) -> Struck:
    kind, _, share = text.partition("=")
    if kind not in KINDS:
        raise ConfigError(f"--fault must be one of {', '.join(KINDS)} with a share, such as lost=1%, not {text!r}")
    number = _number(share.removesuffix("%"))
    if number is not None and share.endswith("%"):
        number /= 100
    if number is None or not 0 < number <= 1:
        raise ConfigError(f"--fault {kind} needs a share of the calls above 0% and up to 100%, such as {kind}=5%")
    return Struck(kind, number)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number < float("inf") else None
