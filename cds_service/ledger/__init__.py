"""The durable record of every hook request answered, and of feedback on its cards."""
