"""Installing closures: our own installers, into a content-addressed read-only store.

A door: the signer installs what it captures with the same code.
"""
