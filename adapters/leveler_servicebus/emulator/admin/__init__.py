"""The HTTP side: what `ServiceBusAdministrationClient` asks, and what only an emulator can be told.

durations    ISO 8601, as .NET writes it
description  the settings of a queue <-> the XML of the service
atom         entries and feeds around it
resources    a request -> a response, without I/O
controls     `/$emulator/..`: move the clock, be busy, detach links
http         the server, in a thread of its own
"""
