"""Faults on purpose: real processes, a real broker, a ledger of our own, and a checker that trusts nobody.

python -m tests.faults sqlite --messages 20000 --faults 20 --seed 1

subject.py    a broker and the faults that only it can have, as data
ledger.py     what every process writes down before anybody can kill it
load.py       the messages: good ones, and poison of every kind
worker.py     the process under test
sender.py     the process that sends
faults.py     what may happen to them, chosen by a seed
harness.py    starts them, makes it happen, waits until all is drained
checker.py    lost, phantom, duplicated, stuck, over-delivered, out of order, innocent dead
"""
