"""`ekb doctor`: what stands between this machine and a successful call, one line per check.

Begin with `command`, which lists the checks in their order; they are in `checks`. `findings` is what a check returns
and when it is not made, `examination` what several checks look at. `contact` makes the first request, and `faults` says
what its failure means. `session` is where the requests of all later calls leave. `report` writes the lines.
"""
