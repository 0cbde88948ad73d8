"""Measurements of speed and memory, beside what people write without the package.

    python -m benchmarks [NAME …] [--quick] [--json FILE] [--plot DIR]

Every benchmark is a module: its contestants, as functions to read and judge, its sizes and its goals. A contestant runs
in a fresh process per round, so that it inherits no heap, cache or garbage of another contestant and does not pay for
modules that only its peers import. Starting and importing are not measured. The server, where there is one, is another
process, new for every run, so that its work is in no figure. Contestants of a round run one after the other, each round
beginning with the next one, and ratios are taken within a round: a slow phase of the machine affects them all.
"""
