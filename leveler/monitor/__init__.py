"""Monitor: a running app in numbers, for people, for Prometheus and for whoever keeps the process alive.

    figures.py      the numbers at one moment
    depths.py       depths of queues, asked for no more often than they change
    address.py      where the endpoint listens
    guard.py        who may read what
    endpoint.py     the numbers over HTTP; server.py has the threads that answer
    measures.py     the same numbers under the names of metrics; prometheus.py writes them
    useful.py       how many workers would be useful; lately.py says what is known of this one
    watcher.py      reads them from other processes
    flow.py         two looks at some workers -> rates

Nothing runs here until somebody asks: the engine keeps tallies anyway, and they are read when somebody looks.
"""
