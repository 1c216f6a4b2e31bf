"""Supervisor: one process that keeps several whole workers running, a number or as many as are useful.

    scaling.py      how many there are to be now: pure, from what the workers say would be useful
    crew.py         which to start, to stop and to start again, and how it ends: pure
    supervisor.py   ... carried out: processes, signals, looks at the figures
    child.py        one worker process, from outside
    line.py         what a worker and its supervisor tell each other

No loop is forked and nothing is pickled: each worker is a whole ``leveler run``, and all that they share is the broker.
"""
