"""The launcher: verifies the whole chain, then runs, guards and audits one server."""
