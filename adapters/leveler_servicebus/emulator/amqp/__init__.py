"""AMQP 1.0 without I/O: bytes to values, frames and messages, and back.

    values         the types that Python has no own for
    encoder        a value -> its bytes
    decoder        bytes -> a value, or where it ends
    performatives  what a frame says
    frames         the stream of bytes -> frames
    message        the sections of a message, kept as the bytes that came

Part 1 (types), 2 (transport), 3 (messaging) and 5 (security) of the OASIS standard.
"""
