"""Why the sequencer takes nothing at this moment. None leaves a trace; each can be retried."""


class NotTaken(Exception):
    """The command was not taken: nothing of it happened."""


class NotServing(NotTaken):
    """The server is starting or stopping."""

    def __init__(self) -> None:
        super().__init__("the server is starting or stopping")


class Overloaded(NotTaken):
    """As many commands wait for the journal as may wait."""

    def __init__(self, waiting: int, waiting_max: int) -> None:
        super().__init__(f"{waiting} commands wait for the journal, the limit is {waiting_max}")
        self.waiting = waiting
        self.waiting_max = waiting_max


class JournalFull(NotTaken):
    """The journal's disk has no more room; cancels are still taken."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the journal's disk has no room: {why}")
        self.why = why
