"""An emulator of Azure Service Bus queues, in plain Python."""
