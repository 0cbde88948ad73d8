"""How fast and how light the package is, beside what people write without it.

    python -m benchmarks [NAME …] [--quick] [--json FILE] [--plot DIR]

Every benchmark is a module of its own: the contestants as functions to read and judge, the sizes, and the goals. A
contestant runs in a fresh process per round, so that none finds a heap, a cache or a collector that another has left
behind, and none pays for modules that only its peers import; starting and importing are not measured. A server, where
there is one, is a process of its own and new for every run, so that its work is in nobody's figures. Contestants of a
round run one after the other, each round beginning with the next one, and ratios are taken within a round: what slows
the machine down for a while slows them all.
"""
