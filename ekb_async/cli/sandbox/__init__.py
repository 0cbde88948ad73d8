"""`ekb sandbox`: a local stand-in for the vendor, to try a program without an account.

Begin with `command`; `settings` reads its options, and `said` writes what it says.
"""
