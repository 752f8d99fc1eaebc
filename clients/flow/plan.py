"""What kind of flow: the options as values."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Mix:
    """How often each thing is done, in parts of their sum."""

    quote: float = 50
    take: float = 14
    cancel: float = 24
    replace: float = 12

    def weights(self) -> tuple[float, ...]:
        """Give the weights in the order of `DEEDS`."""
        return (self.quote, self.take, self.cancel, self.replace)


@dataclass(frozen=True, slots=True)
class Plan:
    """Says what kind of flow to make."""

    rate: int = 200
    """Commands a second, over all instruments, in the mean."""
    clients: int = 40
    """A third of them makers, the others takers."""
    instruments: tuple[str, ...] = ()
    """Empty: every instrument that the exchange lists."""
    mix: Mix = field(default_factory=Mix)
    seconds: float = 600
    seed: int = 1
    name: str = "flow"
    """What the ids of its clients begin with."""
    keep: bool = False
    """Whether its orders stay in the book when it ends."""

    def makers(self) -> list[str]:
        """Give the client ids of the makers."""
        return [f"{self.name}-maker-{number}" for number in range(1, self._makers + 1)]

    def takers(self) -> list[str]:
        """Give the client ids of the takers."""
        return [
            f"{self.name}-taker-{number}" for number in range(1, self.clients - self._makers + 1)
        ]

    @property
    def _makers(self) -> int:
        return max(self.clients // 3, 1)
