"""Why an embedded server can't be had here."""


class ProgramMissing(Exception):
    """An embedded server's program can't be had or made ready: why, and what to do instead."""

    option: str
    """The option that names a server somewhere else."""

    def __init__(self, why: str) -> None:
        self.why = why
        self.remedy = f"name a server with {self.option}"
        super().__init__(f"{why}; {self.remedy}")
