"""Hosts: where each keeps its list of MCP servers, and in what form."""
