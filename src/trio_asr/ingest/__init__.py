"""The ingest: it takes live media from telephony platforms by WebSocket and puts it on the audio stream."""
