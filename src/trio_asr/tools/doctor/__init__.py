"""`trio-asr doctor`: what a deployment is like, and what to do about it. It only reads."""
