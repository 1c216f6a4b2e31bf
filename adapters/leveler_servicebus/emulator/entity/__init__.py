"""A queue without I/O: verbs that take the time and say what came of it.

settings   what a queue has been created with
refusal    why something cannot be done, in the service's words
stored     a message in a queue
queue      the verbs: send, take, settle, defer, schedule, peek
shelf      where its messages are: ready, locked, scheduled
due        what falls due when
sessions   who may take the messages of which session, and the session's state
recent     the ids that duplicate detection remembers
journal    who wants to know what changed
"""
