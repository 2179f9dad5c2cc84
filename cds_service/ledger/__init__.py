"""The durable record of every hook request answered, and of feedback on its cards.

`store.Ledger` is the way in; `record` holds what goes in and what comes back, `keys` the key file.
"""
