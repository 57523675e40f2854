"""An MCP server that tries things and reports what happened."""
