"""Registry metadata: python-tuf's client with what it leaves to its caller.

A lock around the cache, a shipped root, fetching without the environment, reading from
the cache while offline, and the state that "unchanged" is later compared with. The only
room that knows ``tuf``; importing it costs 86 ms, so the warm path does without.
"""
