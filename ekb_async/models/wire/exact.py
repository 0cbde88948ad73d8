"""Sums and quotients of amounts in a decimal context of the package's own.

A program sets the decimal context for sums of its own: ten digits, another rounding, a trap for whatever is inexact.
None of that may change an amount of an invoice, or raise.
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

P = ParamSpec("P")
R = TypeVar("R")

EXACT = Context(
    prec=60, rounding=ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999, traps=[InvalidOperation, DivisionByZero]
)
"""More digits than any sum of amounts has."""

decimal_of: Callable[[str], Decimal] = Context(
    prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[InvalidOperation]
).create_decimal
"""A Decimal with every digit of a text; raises `InvalidOperation` for one that is no number or beyond all bounds."""


def exactly(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function compute in `EXACT`; it must not be a generator or a coroutine, which would leave that open."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(EXACT):
            return function(*args, **kwargs)

    return run
