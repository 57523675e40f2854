"""The embedded private Sigstore: authority, log, timestamps, tokens.

What Fulcio, Rekor v2 and a timestamp authority do for the world, for one enterprise, in
one process. Its log is a record kept by its own host, not transparency against that host;
SECURITY.md says so.
"""
