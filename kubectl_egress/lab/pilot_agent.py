"""A stand-in for `pilot-agent request METHOD PATH`: asks the proxy's admin interface on the pod's loopback."""

from __future__ import annotations

import http.client
import sys

ADMIN_PORT = 15000
USAGE = "the lab's pilot-agent knows only: pilot-agent request GET|POST PATH"


def main(arguments: list[str]) -> int:
    """Print the answer's body and a line's end; 1 where the real one says that the request failed, which 404 is not.

    Source: istio/istio pilot/pkg/request/command.go.
    """
    words = [word for word in arguments if not word.startswith("--debug-port")]
    if len(words) != 3 or words[0] != "request":
        print(USAGE, file=sys.stderr)
        return 2
    connection = http.client.HTTPConnection("localhost", ADMIN_PORT, timeout=60)
    try:
        connection.request(words[1].upper(), "/" + words[2].lstrip("/"))
        answer = connection.getresponse()
        body = answer.read()
    except OSError as error:
        print(f"Error: command error output: Get http://localhost:{ADMIN_PORT}: {error}", file=sys.stderr)
        return 1
    if answer.status >= 400 and answer.status != 404:
        text = body.decode(errors="replace")
        print(f"Error: received unsuccessful status code {answer.status}: {text}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(body + b"\n")
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
