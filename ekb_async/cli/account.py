"""The session that every command of `ekb` works with."""

from __future__ import annotations

from ekb_async import EkbSession, MachinePace, SessionConfig


def open_session(config: SessionConfig | None = None) -> EkbSession:
    """A session from the environment that shares its pace with all other `ekb` of this user on this machine."""
    return EkbSession.from_env(config=config, pacer=MachinePace())
