"""What is trusted and how it is proven.

This room holds the values (`model`), the decisions over them (`policy`), the two
verifiers (`bundle` for Sigstore, `tuf` for registry metadata) and the audit chain.
It knows no command line, no sandbox and no server.
"""
