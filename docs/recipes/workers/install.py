"""Create the tables of an engine and of the backlog: python install.py pgqueuer|procrastinate"""

import asyncio
import os
import sys
from importlib import import_module

if __name__ == "__main__":
    engine = import_module(f"ekb_async.ext.{sys.argv[1]}")
    asyncio.run(engine.install_schema(os.environ["EKB_DSN"]))
