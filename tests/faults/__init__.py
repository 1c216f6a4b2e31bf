"""Faults on purpose: real processes, a real broker, a ledger of our own, and a checker that trusts nobody.

python -m tests.faults sqlite --messages 20000 --faults 20 --seed 1

subjects/     the brokers, and the faults that only they can have, as data
wire/         a proxy that cuts, swallows and slows what passes through it
ledger.py     what every process writes down before anybody can kill it
load.py       the messages: good ones, and poison of every kind
worker.py     the process under test
sender.py     the process that sends
harness.py    starts them, makes it happen as a seed decides, waits until all is drained
flight.py     what was in flight at each fault, and how soon work went on
fleet.py      whether workers who have one rate together kept to it
checker.py    lost, phantom, duplicated, stuck, over-delivered, out of order, innocent dead
"""
