"""What a run shows of itself: its progress, what its calls wait for, and what its answers and failures add up to.

May import `store` and what it may import. Begin with `progress`.
"""
