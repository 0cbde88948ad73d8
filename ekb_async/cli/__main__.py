"""Run `ekb` as `python -m ekb_async.cli`."""

from ekb_async.cli import main

main()
