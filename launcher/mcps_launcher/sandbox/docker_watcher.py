"""Ends a container when its launcher is gone: a process of its own, standard library only.

``python -I -S docker_watcher.py SOCKET CONTAINER`` waits for the end of stdin, which comes
when the launcher ends in whatever way, and then has the engine remove the container.
"""

import socket
import sys


def main() -> None:
    """Wait, then remove."""
    path, container = sys.argv[1:3]
    sys.stdin.buffer.read()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(30)
        connection.connect(path)
        connection.sendall(
            f"DELETE /containers/{container}?force=1 HTTP/1.1\r\n"
            "Host: docker\r\nConnection: close\r\n\r\n".encode()
        )
        while connection.recv(4096):
            pass


if __name__ == "__main__":
    main()
