"""A server with Python's `websockets`: waits for a hundred clients and a file, then sends them lines of another file in turn.

usage: websockets_server.py CERTIFICATES LINES PORT-FILE GO-FILE
"""

import asyncio
import ssl
import sys
from pathlib import Path

from websockets.asyncio.server import serve

CERTIFICATES, LINES, PORT_FILE, GO_FILE = map(Path, sys.argv[1:])
NODES = 100


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.crt", CERTIFICATES / "server.key")
    context.load_verify_locations(CERTIFICATES / "rootCA.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    lines = LINES.read_text().splitlines()
    clients, number = {}, 0

    async def handle(connection):
        # The path is /PROJECT/NODE/events.
        clients[connection.request.path.split("/")[2]] = connection
        async for _ in connection:
            pass

    # Compression off, as at the hub.
    async with serve(handle, "127.0.0.1", 0, ssl=context, compression=None, max_size=None) as server:
        PORT_FILE.write_text(str(server.sockets[0].getsockname()[1]))
        while not GO_FILE.exists() or len(clients) < NODES:
            await asyncio.sleep(0.05)
        for number, line in enumerate(lines):
            await clients[f"edge-{number % NODES}"].send(line)
        await asyncio.sleep(600)


asyncio.run(main())
