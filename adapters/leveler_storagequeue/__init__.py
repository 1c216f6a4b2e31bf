"""The Azure Storage Queue adapter: HTTP, one request for each message that is sent or settled.

    StorageQueueAdapter    one account; makes senders and receivers
    Account                what the URL means
    Service                the client library, asked under a deadline; the one seam of its errors
    Letter                 a message as text of at most 64 KiB, and what it knows about its attempts

A lease is the visibility timeout of a message, and the pop receipt shows that it is ours; each renewal brings a new
receipt. The service counts what it hands out and never takes that back, so giving back uncounted writes a new text into
the message, which says how much of the count does not count. There are no dead letters and no waiting for what comes:
the first are a queue of their own, the second is asking again.
"""

from leveler_storagequeue.adapter import StorageQueueAdapter as StorageQueueAdapter
from leveler_storagequeue.options import StorageQueueOptions as StorageQueueOptions

__all__ = ["StorageQueueAdapter", "StorageQueueOptions"]
