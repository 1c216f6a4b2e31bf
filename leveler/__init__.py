"""leveler: queue-based load leveling."""

__version__ = "0.1.0"
