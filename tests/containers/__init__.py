"""Real brokers for tests. How to use them is in README.md beside this file.

broker.py     one kind of server, as data
brokers/      all of them
image.py      the image of both, from Debian's packages
server.py     a server that was started for tests
container.py  ... in a container
process.py    ... as a process
find.py       which of them to start
keeper.py     the process that owns the servers of one test run
plugin.py     the fixtures
"""
