"""Simulation: whole apps among faults, in one loop, in virtual time, from one seed. A failing seed replays by line.

    python -m tests.simulation --seeds 10000 --first 1 --jobs 2     many
    python -m tests.simulation --seed 471                           one, with every line of its trace
    python -m tests.simulation --seed 471 --shrink                  ... and as little of it as still fails so

loop.py       an event loop without a machine under it: time jumps, and the dead are never called again
process.py    a process that counts its suspension points, can die or stand still at any, and has a clock of its own
worker.py     one life of a worker: an app as a user writes it, its network, its stop
sender.py     one life of the process that sends, and sends again what was not acknowledged
load.py       what handlers do: good, slow, flaky, poison of every kind
scenario.py   all that one seed decides beforehand, as data
fleets.py     ... for workers that have one rate together (--fleets)
store.py      where that is kept, and what goes wrong there
weather.py    what goes wrong, as events
world.py      one run, from the first message to the moment when nothing is left to happen
witness.py    an adapter that changes nothing and tells an eye what passes; one on either side of the network
eyes.py       ... what really happened, and what the worker was told
ledger.py     where all of it is written: orders, handouts, runs
checker/      what must be true of the ledger, a function a promise
sweep.py      the way to a settlement, spoiled at each of its suspension points in turn
plants.py     bugs on purpose: what cannot find these cannot find anything
shrink.py     the smallest scenario that still fails so
"""
