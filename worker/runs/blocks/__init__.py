"""A fit by blocks: the job that plans rounds of parts, the parts, and the rows that they read."""
