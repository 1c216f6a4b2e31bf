"""The same in real time: an app with its consumer on the memory broker, and its downstream in a process of its own.

It says whether the figures in virtual time can be believed: same downstream, same capacity, one way over HTTP.

    server.py       the downstream's process
    connection.py   what the handler calls it through
    run.py          an app that consumes for some seconds
    __main__.py     some rows on some traces, beside the same in virtual time
"""
