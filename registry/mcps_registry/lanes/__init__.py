"""The lanes of the TUF repository: who signs which role, and how it gets published."""
