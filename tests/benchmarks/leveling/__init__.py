"""The levelling benchmark: how near a consumer comes to what its downstream bears, and what it does to it meanwhile.

Goodput alone proves nothing: a client that calls four times too often reaches nearly all of it while nine of ten of
its calls are refused. So every row is judged by what is served, what is refused and how many calls are inside, on
downstreams that are drawn from a seed: knees from 3 to 60, latencies of 5, 50 and 500 ms, with and without a line to
wait in, collapsing ones too. Tune on seeds 0 to 49; what is quoted is of seeds 100 to 109.

    traces.py, downstream.py    what arrives, and what is called
    optimum.py                  what a clairvoyant consumer reaches
    worker.py, clock.py, run.py a process with leveler's own limits, in virtual time
    rows.py, references.py      leveler, fixed limits, and what others publish
    measures.py, bars.py        the figures, and what is asked of them
    suite.py, plots.py          all of it as tables, JSON and pictures
    real/                       the same in real time: an app, and a downstream in a process of its own
"""
