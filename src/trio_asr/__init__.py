"""Live transcription of phone calls: Redis Streams in, one Deepgram WebSocket per call, transcripts out."""
