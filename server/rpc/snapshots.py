"""Snapshots that are asked for, through any door."""

from server import logs
from server.maintenance.followers import FollowerRefused, FollowerRegistry, Snapshot
from server.rpc.calls import Calls
from server.rpc.context import Context
from server.rpc.errors import not_followed
from server.rpc.request_ids import request_id


async def create_snapshot(calls: Calls, followers: FollowerRegistry, context: Context) -> Snapshot:
    """Have what is durable now in a snapshot, and wait for that inside the call's time; refuses the
    call where none is written."""
    sequence = calls.sequencer.durable_sequence
    try:
        written = await calls.within(lambda: followers.snapshot(sequence), context)
    except FollowerRefused as error:
        await calls.refuse(context, not_followed(error))
    asked_by = request_id(context)
    logs.info("snapshot written on demand", **written._asdict(), request_id=asked_by)
    return written
