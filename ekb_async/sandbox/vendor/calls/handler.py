"""The form of a call: a function of a request and its time of arrival (epoch seconds) that returns the answer's body.

It raises `RefusedError` if a rule of the vendor refuses the request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ekb_async.sandbox.vendor.exchange import VendorRequest

Handler = Callable[[VendorRequest, float], Any]
Handlers = Mapping[str, Handler]
