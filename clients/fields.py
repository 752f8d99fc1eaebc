"""What a caller gave and no message can hold."""

from typing import Any, Self

SHOWN_MAX = 60  # characters of a refused value that its error repeats


class FieldInvalidError(ValueError):
    """A value that can't be sent: says which field, what limit, and what was given."""

    def __init__(self, field: str, limit: str, value: object) -> None:
        super().__init__(f"{field} must be {limit}; got {shown(value)}")
        self.field = field
        self.limit = limit
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception's own would make the copy of the message alone.
        return type(self), (self.field, self.limit, self.value), self.__dict__

    def within(self, place: str) -> Self:
        """Tell the same of a field of one among several, such as `orders[1]`."""
        return type(self)(f"{place}.{self.field}", self.limit, self.value)


def shown(value: object) -> str:
    """Repeat a refused value, or its beginning."""
    whole = repr(value)
    return whole if len(whole) <= SHOWN_MAX else whole[:SHOWN_MAX] + "…"
