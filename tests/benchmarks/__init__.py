"""``make bench``: how near leveler comes to what the broker and this machine bear.

Every figure stands against its raw limit: the same work without leveler, written as well as anybody would. The two
take turns, each time in a fresh process, so that neither inherits a heap or a quiet minute from the other; what counts
is the median of the ratios of the pairs. Rates of one machine say little, and of a busy one nothing.

    orders.py         the workload
    row.py            what is measured: a way to send and a way to consume
    ours.py           leveler, with the defaults that a user has
    bare_<broker>.py  the raw limits
    suites.py         which rows and measures belong together: a broker joins here
    measures.py       what is done and timed; runs in a process of its own: child.py
    rounds.py         the turns
    figures.py        medians and ratios, as a table and as JSON
"""
