"""The memory adapter: queues in this process, gone with it.

It is the reference of the contract and the verified fake of every other broker: with `MemoryOptions.personality`
it keeps a broker's promises, and its limits, without the broker.
"""

from leveler_memory.adapter import MemoryAdapter as MemoryAdapter
from leveler_memory.adapter import MemoryOptions as MemoryOptions

__all__ = ["MemoryAdapter", "MemoryOptions"]
