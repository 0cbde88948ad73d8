"""The channels of notifications, which all backlogs in a database share; the payload says which backlog is meant."""

from __future__ import annotations

BACKLOG = "'ekb_call'::regclass::oid::text"
"""The payload: the number of a table, which differs from schema to schema."""

ADDED = "ekb_added"
"""Calls were added, or have become pending: workers search for those that are not planned."""

NOTIFY_ADDED = f"SELECT pg_notify('{ADDED}', {BACKLOG})"
"""Notifies the workers when the transaction is committed."""
