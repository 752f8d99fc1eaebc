"""What `exchange flow` does: trade, show how far it is, print the summary, give the exit code."""

import argparse
import asyncio
import json

from clients.actions import DONE, failed, usage_wrong
from clients.errors import ExchangeError
from clients.flow.plan import Plan
from clients.flow.tally import Tally
from clients.flow.trading import InstrumentUnknownError, trade
from clients.loopback import NotLoopbackError, require_loopback
from clients.progress import Progress
from clients.stopping import stop_on_signals


def run(options: argparse.Namespace) -> int:
    """Trades, and prints what was done, or one sentence that says why nothing was."""
    try:
        if not options.allow_remote:
            require_loopback(options.address.rpartition(":")[0])
        tally = asyncio.run(_trade(options))
    except (NotLoopbackError, InstrumentUnknownError) as wrong:
        return usage_wrong(options, wrong)
    except ExchangeError as error:
        return failed(options, error)
    print(json.dumps(tally.plain(), indent=2) if options.json else "\n".join(tally.lines()))
    return DONE


async def _trade(options: argparse.Namespace) -> Tally:
    stop = stop_on_signals()
    progress = Progress()
    plan = Plan(
        rate=options.rate,
        clients=options.clients,
        instruments=options.instruments,
        mix=options.mix,
        seconds=options.seconds,
        seed=options.seed,
        name=options.name,
        keep=options.keep,
    )
    try:
        return await trade(
            options.address, plan, stop, lambda tally: progress.show(tally.progress())
        )
    finally:
        progress.end()
