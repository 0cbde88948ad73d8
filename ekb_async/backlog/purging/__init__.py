"""Deleting calls that ended long ago, with what belongs to them.

Start with `purging`.
"""
