"""The Bus protocol, through which audio comes in and transcripts go out; on Redis and in memory."""
