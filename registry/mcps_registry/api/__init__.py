"""The registry over HTTP: static files, submissions, signed results, Sigstore."""
