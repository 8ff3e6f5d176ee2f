"""`trio-asr smoke`: one synthetic call through a deployment that runs, from its frames to its transcripts."""
