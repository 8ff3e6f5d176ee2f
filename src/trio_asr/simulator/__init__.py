"""A stand-in for Deepgram's live API (`wss://api.deepgram.com/v1/listen`): protocol, faults and engines.

The inside is pure: `session` turns what a client sends, and the passing of time, into what Deepgram would
send back; `query`, `stamps` and `faults` are functions and state without I/O. `server` is a thin trio shell
around it.
"""
