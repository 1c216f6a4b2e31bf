"""Azure Service Bus: `leveler_servicebus.emulator` is a server for tests and laptops."""
