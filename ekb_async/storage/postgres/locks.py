"""The numbers of advisory locks, which all programs on a database share.

Locks of backlogs in different schemas of a database must differ, so a number contains the OID of a table, or of the
schema in which tables are created. In earlier versions locks had the same numbers in all schemas, and workers of those
versions may run while others are upgraded. So the former number is locked as well, shared: that excludes their locks,
which are exclusive, and not those of this version in other schemas.
"""

FORMER_CLASS = 0x656B62
"""The first of the two numbers of former locks, and the one number of the lock to create tables."""

OF_RUNS = "'ekb_run'::regclass::oid::int4"
"""The first of the two numbers of the lock of a run; the second is the number of the run."""
OF_ROWS = "'ekb_row'::regclass::oid::int4"
"""The first of the two numbers of the lock to add rows; the second is 0."""
OF_TOKENS = "'ekb_token'::regclass::oid::int8"
"""What the number of the lock of an access token is combined with, by XOR."""
OF_COUNTS = "'ekb_count'::regclass::oid::int4"
"""The first of the two numbers of the lock to sum up the numbers of calls; the second is 0."""
