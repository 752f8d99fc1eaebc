"""What a book remembers of its changes: any reader, however late, gets the book or is told."""

from google_crc32c import value
from hypothesis import given
from hypothesis import strategies as st

from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from server.core.types import BUY, SELL
from server.feed.depth import DELTAS_MAX, Depth, Top, checksum, encoded

CHANGES_MAX = 16

records = st.lists(
    st.lists(
        st.tuples(st.sampled_from((BUY, SELL)), st.integers(1, 12), st.integers(0, 3)), max_size=6
    ),
    min_size=1,
    max_size=40,
)


@given(records, st.data())
def test_a_delta_brings_any_reader_up_to_date(
    changes: list[list[tuple[int, int, int]]], data: st.DataObject
) -> None:
    depth = Depth(0, 0, Top([], []), CHANGES_MAX)
    book: dict[int, int] = {}
    states = {0: dict(book)}
    for sequence, levels in enumerate(changes, 1):
        for side, price, quantity in levels:
            book[price if side == BUY else -price] = quantity
        depth.change(sequence, 0, levels, Top([], []))
        states[sequence] = dict(book)
    after = data.draw(st.integers(0, len(changes)))
    if after < depth.floor:
        # Only what more levels than are remembered have pushed out is forgotten.
        assert len(book) > CHANGES_MAX
        return
    mine = states[after] | dict(depth.after(after))
    assert mine == book
    changed = {
        key for sequence in range(after + 1, len(changes) + 1) for key in _keys(changes, sequence)
    }
    assert {key for key, _ in depth.after(after)} == changed


def _keys(changes: list[list[tuple[int, int, int]]], sequence: int) -> set[int]:
    return {price if side == BUY else -price for side, price, _ in changes[sequence - 1]}


def test_floor_is_the_newest_change_forgotten() -> None:
    depth = Depth(5, 0, Top([], []), CHANGES_MAX)
    assert depth.floor == 5
    for sequence in range(6, 6 + CHANGES_MAX):
        depth.change(sequence, 0, [(BUY, sequence, 1)], Top([], []))
    assert depth.floor == 5
    depth.change(30, 0, [(BUY, 7, 2)], Top([], []))
    assert depth.floor == 5
    depth.change(31, 0, [(SELL, 40, 1)], Top([], []))
    assert depth.floor == 6


def test_deltas_are_encoded_once_and_not_kept_without_bound() -> None:
    depth = Depth(0, 0, Top([], []), CHANGES_MAX)
    depth.change(1, 0, [(BUY, 7, 2), (SELL, 9, 0)], Top([], []))
    delta = StreamOrderBookResponse.FromString(depth.delta(0))
    assert [(level.price_e8, level.quantity_e8) for level in delta.bids] == [(7, 2)]
    assert [(level.price_e8, level.quantity_e8) for level in delta.asks] == [(9, 0)]
    assert depth.delta(0) is depth.delta(0)
    for sequence in range(-10 * DELTAS_MAX, 0):
        depth.delta(sequence)
    assert len(depth._deltas) <= DELTAS_MAX


def test_checksum_is_of_the_text_that_the_contract_names() -> None:
    top = Top([(101, 5), (100, 7)], [(103, 1)])
    assert checksum(top) == value(b"101:5,100:7|103:1")
    assert checksum(Top([], [])) == value(b"|")
    depth = Depth(0, 0, Top([], []), CHANGES_MAX)
    assert depth.checksum == value(b"|")
    depth.change(1, 0, [], top)
    assert depth.checksum == value(b"101:5,100:7|103:1")


def test_levels_and_header_make_one_message() -> None:
    """Protobuf joins what is written one behind the other."""
    header = StreamOrderBookResponse(sequence=7, previous_sequence=6).SerializeToString()
    message = StreamOrderBookResponse.FromString(encoded({5: 1, -8: 2}) + header)
    assert (message.sequence, message.previous_sequence) == (7, 6)
    assert (message.bids[0].price_e8, message.asks[0].price_e8) == (5, 8)
