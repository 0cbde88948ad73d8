"""Computation with amounts in a decimal context of the package's own.

A program may set its decimal context for its own computations: ten digits, another rounding, a trap for inexact
results. None of that may change an amount of an invoice, or raise an exception here.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import (
    MAX_EMAX,
    MAX_PREC,
    MIN_EMIN,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    localcontext,
)
from functools import wraps
from typing import ParamSpec, TypeVar

from ekb_async.models.wire.limits import LIMITS

P = ParamSpec("P")
R = TypeVar("R")

EXACT = Context(
    prec=LIMITS.sum_digits,
    rounding=ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    traps=[InvalidOperation, DivisionByZero],
)
"""A context with more digits than any sum of amounts needs."""

decimal_of: Callable[[str], Decimal] = Context(
    prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[InvalidOperation]
).create_decimal
"""Return a text as a Decimal with all its digits; raises `InvalidOperation` if it is not a number or out of bounds."""


def exactly(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function in the context `EXACT`; not for generators and coroutines, which would leave the context set."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(EXACT):
            return function(*args, **kwargs)

    return run
