"""One turn of one driver; the figures are the line it prints."""

import argparse
import gc
from pathlib import Path

import uvloop

from bench.drivers import book_stream, http1, http2, session
from bench.drivers.loop import ClosedLoop
from bench.figures import Turn, read_messages, write_messages


def arguments() -> argparse.Namespace:
    """What to send where, for how long."""
    parser = argparse.ArgumentParser(prog="python -m bench.drivers", description=__doc__)
    parser.add_argument("way", choices=["session", "unary", "http", "book"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=Path, required=True, help="file of prepared requests")
    parser.add_argument("--first", type=int, default=0, help="the request to begin with")
    parser.add_argument("--count", type=int, required=True, help="requests to send at most")
    parser.add_argument("--seconds", type=float, required=True, help="seconds to take at most")
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--size", type=int, default=1, help="commands, or books, in a message")
    parser.add_argument("--rate", type=float, default=0.0, help="messages of a session a second")
    parser.add_argument("--path", default="", help="the method of a unary call")
    parser.add_argument("--replies", type=Path, help="file to keep the replies in")
    return parser.parse_args()


async def drive(options: argparse.Namespace) -> Turn:
    """Prepare, run, keep the replies."""
    loop = ClosedLoop(
        read_messages(options.requests),
        first=options.first,
        count=options.count,
        seconds=options.seconds,
    )
    gc.freeze()
    gc.disable()
    replies: list[bytes] = []
    host, port, in_flight = "127.0.0.1", options.port, options.in_flight
    if options.way == "session":
        turn = await session.drive(host, port, loop, options.size, in_flight, replies, options.rate)
    elif options.way == "unary":
        turn = await http2.drive(host, port, options.path, loop, in_flight, replies, options.size)
    elif options.way == "book":
        turn = await book_stream.drive(host, port, loop, in_flight)
    else:
        turn = await http1.drive(host, port, loop, in_flight, options.size)
    if options.replies:
        write_messages(options.replies, replies)
    return turn


if __name__ == "__main__":
    print(uvloop.run(drive(arguments())).to_json())
