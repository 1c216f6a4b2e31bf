"""The SQLite adapter: queues in one file, shared by the processes of one host, with nothing to install or run.

    SQLiteAdapter   the file; makes senders and receivers
    Writer          the one thread that touches it; what waits together shares a commit
    Transaction     one of those commits, and what it knows; `arrivals`, `claims`, `settlements` and `removal` act in it

What is accepted is on the disk when `send` returns (``synchronous: full``). The file must lie on a disk of this host:
processes that share it through a network would not see each other's locks.
"""

from leveler_sqlite.adapter import SQLiteAdapter as SQLiteAdapter
from leveler_sqlite.options import SQLiteOptions as SQLiteOptions

__all__ = ["SQLiteAdapter", "SQLiteOptions"]
