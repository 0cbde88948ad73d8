"""The simulated vendor's rules, calls, limits and errors, without sockets: a request in, a reply out.

May import `models` and below, nothing else of `sandbox`.
Start with `vendor`, then `routes`. `calls` answers the requests from what is in `books`; `invoices` makes the content
of invoices.
"""
