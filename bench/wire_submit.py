"""What one call costs the wire in CPU: batches of calls to an HTTP/2 server in another process, printed as JSON.

Run: python -m bench.wire_submit [--calls N] [--batch N] [--streams N] [--connections N] [--body OCTETS] [--asyncio]
The server answers at once from prepared octets, so that it does not hold the client back.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop
from tests.contracts.certificates import Authority

from tocsin.wire.bounds import Bounds
from tocsin.wire.endings import Answered, Call, Origin
from tocsin.wire.engine import Engine

# :status 200 and content-length from the static table, then a body such as FCM gives.
BODY = b'{"name":"projects/bench/messages/0:1700000000000000%31bd1c9631bd1c96"}'
BLOCK = b"\x88\x0f\x0d\x02" + b"%d" % len(BODY)


class Sink(asyncio.Protocol):
    """Answers every finished stream; reads frame headers only."""

    def __init__(self, streams: int) -> None:
        self.streams = streams
        self.buffer = bytearray()
        self.greeted = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        wide = (4).to_bytes(2, "big") + (1 << 20).to_bytes(4, "big")
        most = (3).to_bytes(2, "big") + self.streams.to_bytes(4, "big")
        transport.write(b"\x00\x00\x0c\x04\x00\x00\x00\x00\x00" + most + wide + self.credit((1 << 30) - 1))

    @staticmethod
    def credit(octets: int) -> bytes:
        return b"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + octets.to_bytes(4, "big")

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        out = bytearray()
        at = 0 if self.greeted else 24
        self.greeted = True
        taken = 0
        while len(buffer) - at >= 9:
            size = int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) - at < 9 + size:
                break
            kind, flags, stream = buffer[at + 3], buffer[at + 4], bytes(buffer[at + 5 : at + 9])
            if kind == 0:
                taken += size
            if kind in (0, 1) and flags & 1:
                out += len(BLOCK).to_bytes(3, "big") + b"\x01\x04" + stream + BLOCK
                out += len(BODY).to_bytes(3, "big") + b"\x00\x01" + stream + BODY
            elif kind == 4 and not flags & 1:
                out += b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"
            at += 9 + size
        del buffer[:at]
        if taken:
            out += self.credit(taken)
        if out:
            self.transport.write(bytes(out))


def serve(directory: str, streams: int, pipe: Connection) -> None:
    async def run() -> None:
        authority = Authority.make(Path(directory))
        server = await asyncio.get_running_loop().create_server(
            lambda: Sink(streams), "127.0.0.1", 0, ssl=authority.context()
        )
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


async def measure(arguments: argparse.Namespace, directory: Path, port: int) -> dict[str, Any]:
    engine = Engine(
        ca_file=directory / "ca.pem", bounds=replace(Bounds(), connections_per_origin=arguments.connections)
    )
    origin = Origin("localhost", port)
    fixed = ((b"authorization", b"Bearer " + b"t" * 180), (b"content-type", b"application/json"))
    ends: Counter[str] = Counter()

    def batch(first: int) -> list[Call]:
        return [
            Call(origin, b"POST", b"/v1/projects/bench/messages:send", fixed, b"%036d" % number + b"x" * arguments.body)
            for number in range(first, first + arguments.batch)
        ]

    async def send(calls: list[Call]) -> None:
        async for chunk in engine.submit(calls):
            for _, ending in chunk:
                ends[str(ending.status) if isinstance(ending, Answered) else ending.code] += 1

    await send(batch(0))  # connections stand, tables are filled
    ends.clear()
    batches = [batch(first) for first in range(0, arguments.calls, arguments.batch)]
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    for calls in batches:
        await send(calls)
    after, elapsed = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - wall
    await engine.close()
    count = len(batches) * arguments.batch
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return {
        "calls": count,
        "batch": arguments.batch,
        "streams_per_connection": arguments.streams,
        "connections": arguments.connections,
        "loop": "asyncio" if arguments.asyncio else "uvloop",
        "endings": dict(ends),
        "cpu_us_per_call": round((user + system) / count * 1e6, 1),
        "system_us_per_call": round(system / count * 1e6, 1),
        "calls_per_second": round(count / elapsed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--connections", type=int, default=5)
    parser.add_argument("--body", type=int, default=600)
    parser.add_argument("--asyncio", action="store_true", help="run on the standard event loop")
    arguments = parser.parse_args()
    here, there = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as directory:
        server = multiprocessing.Process(target=serve, args=(directory, arguments.streams, there), daemon=True)
        server.start()
        port = here.recv()
        run = asyncio.run if arguments.asyncio else uvloop.run
        result = run(measure(arguments, Path(directory), port))
        server.terminate()
        server.join()
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
