"""Callers: each telephony platform's side of its WebSocket, written from the platforms' own pages.

A platform is one small pure module: it turns cut audio into messages, and reads what the server says. One
shell in trio dials, keeps the pace and does the faults. No code is shared with those who read the messages.
"""
