"""Why the sequencer takes nothing at this moment. Neither leaves a trace; both can be retried."""


class NotServing(Exception):
    """The server is starting or stopping."""

    def __init__(self) -> None:
        super().__init__("the server is starting or stopping: try again in a moment")


class Overloaded(Exception):
    """As many commands wait for the journal as may."""

    def __init__(self, waiting: int, waiting_max: int) -> None:
        super().__init__(
            f"{waiting} commands wait for the journal, the limit is {waiting_max}: "
            "try again in a moment, or send less at once"
        )
        self.waiting = waiting
        self.waiting_max = waiting_max


class JournalFull(Overloaded):
    """The journal's disk has no more room; cancels are still taken."""

    def __init__(self, why: str) -> None:
        super().__init__(0, 0)
        self.why = why
