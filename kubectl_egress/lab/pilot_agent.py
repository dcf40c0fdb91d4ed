"""A stand-in for `pilot-agent request METHOD PATH`: asks the proxy's admin interface on the pod's loopback."""

from __future__ import annotations

import http.client
import sys

ADMIN_PORT = 15000
USAGE = "the lab's pilot-agent knows only: pilot-agent request GET|POST PATH"


def main(arguments: list[str]) -> int:
    """Print the answer's body; 1 where the real one would say that the request failed."""
    words = [word for word in arguments if not word.startswith("--debug-port")]
    if len(words) != 3 or words[0] != "request":
        print(USAGE, file=sys.stderr)
        return 2
    connection = http.client.HTTPConnection("127.0.0.1", ADMIN_PORT, timeout=60)
    try:
        connection.request(words[1].upper(), "/" + words[2].lstrip("/"))
        answer = connection.getresponse()
        sys.stdout.buffer.write(answer.read())
        sys.stdout.buffer.flush()
    except OSError as error:
        print(f"Error: command error output: Get http://localhost:{ADMIN_PORT}: {error}", file=sys.stderr)
        return 1
    return 0 if answer.status < 400 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
