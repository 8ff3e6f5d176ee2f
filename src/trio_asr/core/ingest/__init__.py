"""What an ingest decides: where each leg's audio lies, how legs are paired, and what goes on the stream when.

Positions count samples (of each channel) from the first one of a *series*: the media that one socket brings
of a call. The call's own positions begin where the store says that the series does.
"""
