"""Figures of a backlog for programs that watch it: metrics, the names of their series, and what is wrong.

May import `run`, `results` and everything below them. Start with `figures`.
"""
