"""An honest node while others attack, in a process of its own: each line of its output is one thing that it did, and how long that took.

Usage: honest.py WSS-PORT HTTPS-PORT CERTIFICATE-DIRECTORY [ADDRESS]
It is connected and asks every 20 ms; beside that it connects anew and fetches the CA five times a second. All of it comes from ADDRESS
(127.0.0.2), so it is another peer than the attacker.
"""

import http.client
import json
import socket
import ssl
import sys
import threading
import time

from wire import Link, Material

WSS, HTTPS = int(sys.argv[1]), int(sys.argv[2])
MATERIAL = Material(sys.argv[3])
ADDRESS = sys.argv[4] if len(sys.argv) > 4 else "127.0.0.2"
printing = threading.Lock()


def tell(what, begun, problem=None):
    with printing:
        print(json.dumps({"what": what, "at": begun, "ms": (time.monotonic() - begun) * 1000, "problem": problem}), flush=True)


def ask():
    link = Link(WSS, MATERIAL, "honest-0", source=ADDRESS)
    number = 0
    while True:
        begun = time.monotonic()
        number += 1
        try:
            link.send_message("ping", message_id=f"q-{number}")
            link.answer(f"q-{number}")
            tell("ask", begun)
            if number % 250 == 0:
                # Questions end in hub-wsserve; to hub-keepalive only this is a sign of life.
                link.send_message("keepalive", message_id=f"k-{number}", source="websocket", resource="node", group="resource")
        except (OSError, EOFError, AssertionError) as error:
            tell("ask", begun, repr(error))
            return
        time.sleep(0.02)


def connect():
    while True:
        begun = time.monotonic()
        try:
            Link(WSS, MATERIAL, "honest-1", source=ADDRESS).close()
            tell("connect", begun)
        except (OSError, EOFError, AssertionError) as error:
            tell("connect", begun, repr(error))
        time.sleep(0.2)


def fetch():
    context = ssl.create_default_context(cafile=MATERIAL.ca)
    while True:
        begun = time.monotonic()
        try:
            connection = http.client.HTTPSConnection("127.0.0.1", HTTPS, context=context, timeout=10, source_address=(ADDRESS, 0))
            connection.request("GET", "/ca.crt", headers={"Connection": "close"})
            assert connection.getresponse().status == 200
            connection.close()
            tell("fetch", begun)
        except (OSError, AssertionError, http.client.HTTPException) as error:
            tell("fetch", begun, repr(error))
        time.sleep(0.2)


if __name__ == "__main__":
    socket.setdefaulttimeout(10)
    for task in (ask, connect, fetch):
        threading.Thread(target=task, daemon=True).start()
    sys.stdin.read()  # until the parent closes it
