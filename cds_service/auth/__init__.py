"""Who is calling: trusted clients and their tokens."""
