"""Where calls come from and transcripts go: the Bus protocol, on Redis and in memory."""
