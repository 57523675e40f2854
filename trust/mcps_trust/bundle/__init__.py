"""Signatures: Sigstore bundles over releases, and approvers' signatures over entries.

The only room that knows sigstore-python. Importing it costs a fifth of a second, so
nothing here is imported before a bundle has to be verified.
"""
