"""The demo: a week of real departures is levelled before your eyes.

departures.jsonl.gz    the week, as it was (see DEPARTURES.md)
week.py                when each departure arrives, if the week takes a few seconds
handlers.py            what a user writes
board.py               the downstream: it bears a fixed rate, fails a part of its calls, and keeps a book
worker.py              a real worker process
book.py                what the board wrote down: the ledger that the demo is judged by
curve.py, screen.py    arriving, waiting, completing, live
summary.py             what became of every departure
demo.py                the story
"""
