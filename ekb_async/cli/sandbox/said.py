"""What `ekb sandbox` says: how it is reached, what it enforces, and a line for each request."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Mapping

from ekb_async.backlog.results.names import Names
from ekb_async.cli.language import texts
from ekb_async.cli.output import say
from ekb_async.cli.sandbox.settings import FEATURES, KINDS, Settings
from ekb_async.redaction.masking import redact
from ekb_async.sandbox import Rules
from ekb_async.sandbox.loopback import Answered, LoopbackServer

_MILLISECONDS = 1000


def introduce(box: LoopbackServer, app_key: str, app_security: str) -> None:
    """Say where the sandbox is, and write the settings of a program that is to use it to standard output."""
    url = box.base_url
    say(texts("The sandbox listens at {url} until Ctrl-C. For a program in another terminal:", url=url) + "\n")
    for name, value in (("BASE_URL", url), ("APP_KEY", app_key), ("APP_SECURITY", app_security)):
        sys.stdout.write(f"export EKB_{name}={shlex.quote(value)}\n")
    sys.stdout.flush()


def describe(settings: Settings, rules: Rules, people: Mapping[str, str]) -> None:
    """Say what the sandbox enforces, and who may verify."""
    say("\n" + texts("It answers as the vendor does, and enforces:"))
    for line in (*_enforced(settings, rules), *_faults(settings)):
        say(f"  - {line}")
    say("\n" + texts("These people may verify; others do not exist (--staff adds one):"))
    for staff_id, name in people.items():
        say(f"  {staff_id}  {name}".rstrip())
    say("")


def _enforced(settings: Settings, rules: Rules) -> Iterator[str]:
    if rules.ocr_rate:
        yield texts("OCR: at most {rate:,.10g} calls per second", rate=rules.ocr_rate)
    else:
        yield texts("OCR: any number of calls per second")
    if rules.verify_rate:
        yield texts("each kind of verification: at most {rate:,.10g} calls per second", rate=rules.verify_rate)
    else:
        yield texts("verification: any number of calls per second")
    if settings.latency:
        yield texts("a paid call takes {seconds:g} s", seconds=settings.latency)
    yield texts(
        "an access token is valid for {token:,.0f} min, the URL of an uploaded file for {url:,.0f} min",
        token=rules.token_lifetime / 60,
        url=rules.url_lifetime / 60,
    )
    names = Names(texts.lang)
    for feature in FEATURES:
        if feature in settings.without:
            yield texts("the enterprise has no permission for {feature}", feature=names.call(feature))
    if settings.refuse_keys:
        yield texts("the keys above are refused")


def _faults(settings: Settings) -> Iterator[str]:
    for each in settings.faults:
        fault = texts.rendered(KINDS[each.kind].about)
        yield texts("fault in {share} of the paid calls: {fault}", share=f"{each.share * 100:g}%", fault=fault)


def log(answered: Answered) -> None:
    """Write a line about a request to standard error."""
    moment = time.strftime("%H:%M:%S", time.localtime(answered.at))
    status = answered.status or texts("no answer")
    milliseconds = answered.seconds * _MILLISECONDS
    say(f"{moment} {answered.method} {redact(answered.path)} {status} {milliseconds:,.0f} ms")
