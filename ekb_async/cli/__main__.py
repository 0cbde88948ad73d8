"""`python -m ekb_async.cli` is `ekb`."""

from ekb_async.cli import main

main()
