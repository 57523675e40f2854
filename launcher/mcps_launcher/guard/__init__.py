"""The guard: every message between host and server passes here, and most pass unchanged."""
