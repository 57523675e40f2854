"""The audit trail: what was started, asked, allowed, refused and answered.

One chain of records for each session, and one for the host in which a session's first and
last record are entered, so that a changed line, a cut tail and a missing file all show. It
detects edits by whoever cannot rewrite both; it is not anchored outside this host.
"""
