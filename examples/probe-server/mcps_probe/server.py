"""MCP on stdin and stdout, by hand: the legacy era, one tool, no dependency."""

import json
import sys

from mcps_probe.probe import report

VERSION = "2025-11-25"
TOOL = {
    "name": "probe",
    "title": "Probe the sandbox",
    "description": "Try to reach the network, files, processes and more; report what happened.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "port": {"type": "integer", "description": "A port on this machine that listens"},
            "path": {"type": "string", "description": "A file on this machine that exists"},
        },
        "required": ["port", "path"],
    },
    "annotations": {"readOnlyHint": True, "openWorldHint": False},
}


def answer(method, params):
    """The result of a request, or None if the method is unknown."""
    if method == "initialize":
        return {
            "protocolVersion": VERSION,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "mcps-probe", "version": "1.0.0"},
        }
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call" and params.get("name") == "probe":
        arguments = params.get("arguments", {})
        found = report(int(arguments["port"]), str(arguments["path"]))
        return {
            "content": [{"type": "text", "text": json.dumps(found)}],
            "structuredContent": found,
        }
    if method == "ping":
        return {}
    return None


def main():
    """Serve until stdin ends."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" not in message:
            continue
        result = answer(message.get("method"), message.get("params") or {})
        reply = {"jsonrpc": "2.0", "id": message["id"]}
        if result is None:
            reply["error"] = {"code": -32601, "message": "method not found"}
        else:
            reply["result"] = result
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
