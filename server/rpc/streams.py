"""Sending what the feed has for a reader.

A stream ends when its caller goes, when the server stops, or when the feed cuts a slow reader. The
last one is told so without waiting for it: a status, like a write, may take until the reader reads,
and its place stays taken until then, so that such calls are counted.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import NoReturn

from server import logs
from server.feed.fan_out import Reader, ReaderSlow, ServerStopping, TooManyReaders
from server.feed.feed import SequenceAhead
from server.journal.log import NotKept
from server.rpc.context import Context
from server.rpc.errors import EdgeReason, EdgeReject, Refused, refuse
from server.rpc.request_ids import request_id

# The loop holds its tasks weakly.
_goodbyes: set[asyncio.Task[None]] = set()


Refuse = Callable[[Context, Refused], Awaitable[NoReturn]]


async def send(
    context: Context,
    subscribe: Callable[[str], Reader],
    shown: Callable[[bytes], bytes] = bytes,
    refuse: Refuse = refuse,
) -> None:
    """Subscribe for the call's connection, and send until the stream ends. A door that shows
    messages, or words refusals, in its own way says how."""
    try:
        reader = subscribe(context.peer())
    except (SequenceAhead, NotKept, TooManyReaders, ServerStopping) as error:
        await refuse(context, _refused(error))
    left_open = False
    begun: asyncio.Future[None] | None = None
    try:
        async with contextlib.aclosing(reader.messages()) as messages:
            async for message in messages:
                if begun is None:
                    # The headers go with it, and gRPC takes no status while they are on their way.
                    begun = asyncio.ensure_future(context.write(shown(message)))
                    await asyncio.shield(begun)
                else:
                    await context.write(shown(message))
    except ServerStopping as ending:
        await refuse(context, _refused(ending))
    except NotKept as gone:
        # Dropped before this reader, who resumes, came to it.
        sent, first = reader.sequence_sent, gone.first_sequence
        await refuse(context, EdgeReject(EdgeReason.NOT_KEPT, "after_sequence", sent, first))
    except asyncio.CancelledError:
        if reader.ended is None:
            raise
        logs.warning(
            "subscriber cut, it reads too slowly",
            stream=reader.stream,
            sequence=reader.ended.sequence,
            waiting_bytes_max=reader.ended.bytes_max,
            peer=context.peer(),
            request_id=request_id(context),
        )
        if begun is not None:
            await asyncio.gather(begun, return_exceptions=True)
        left_open = True
        _say_goodbye(refuse(context, _refused(reader.ended)), reader)
        # The status is on its way, so that nothing else is said, once that task has begun.
        await asyncio.sleep(0)
    finally:
        if begun is not None:
            begun.cancel()
        if not left_open:
            reader.close()


def _say_goodbye(refusal: Awaitable[NoReturn], reader: Reader) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    goodbye = asyncio.create_task(_end_slow(refusal, reader))
    _goodbyes.add(goodbye)
    goodbye.add_done_callback(_goodbyes.discard)


async def _end_slow(refusal: Awaitable[NoReturn], reader: Reader) -> None:
    try:
        await refusal
    except Exception as ending:
        # In any case: of an aborted call, or of one whose caller is gone. gRPC keeps it with the
        # call, which its traceback holds.
        ending.__traceback__ = None
    finally:
        reader.close()


def _refused(error: Exception) -> Refused:
    if isinstance(error, ReaderSlow):
        behind = f"{error.bytes_max} bytes"
        return EdgeReject(EdgeReason.SLOW_READER, "sequence", error.sequence, behind)
    if isinstance(error, ServerStopping):
        resume = f"stopping, resume after sequence {error.sequence}"
        return EdgeReject(EdgeReason.NOT_SERVING, "server", resume)
    if isinstance(error, SequenceAhead):
        return EdgeReject(EdgeReason.CURSOR_INVALID, "after_sequence", error.after_sequence)
    if isinstance(error, NotKept):
        first = error.first_sequence
        return EdgeReject(EdgeReason.NOT_KEPT, "after_sequence", error.sequence - 1, first)
    assert isinstance(error, TooManyReaders)
    most = error.readers_max
    return EdgeReject(EdgeReason.OVERLOADED, "streams open", most, most)
