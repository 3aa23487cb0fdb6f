"""The user's code: what it takes, how it travels, and how a worker loads it."""
