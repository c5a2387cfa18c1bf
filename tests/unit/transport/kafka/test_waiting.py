"""A parcel says once of each record what became of it, however it was cut."""

from __future__ import annotations

import pytest

from orchestra.errors import OutcomeUnknownError, TransportError
from orchestra.transport.delivery import Tally
from orchestra.transport.kafka.waiting import Parcel
from orchestra.transport.port import Outgoing, Partition


def parcel(count: int = 5) -> tuple[Tally, Parcel]:
    tally = Tally(count)
    records = [Outgoing("t", b"k", b"%d" % n, []) for n in range(count)]
    return tally, Parcel(tally, records, list(range(count)), 10.0, 500)


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_pieces_of_a_parcel_hold_what_it_held(cut: int) -> None:
    tally, rest = parcel()

    head = rest.cut(cut)

    assert [record.value for record in (*head.records, *rest.records)] == [b"%d" % n for n in range(5)]
    assert (head.count + rest.count, head.held + rest.held, head.size + rest.size) == (5, 5, 500)
    head.stored(Partition("t", 0), 0)
    rest.fail(OutcomeUnknownError("who knows"))
    assert tally.is_done
    assert sorted(tally.failures) == list(range(cut, 5))


def test_parcel_that_has_ended_says_nothing_more_also_in_pieces() -> None:
    tally, whole = parcel(3)
    whole.fail(OutcomeUnknownError("who knows"))

    for piece in whole.split():
        piece.stored(Partition("t", 0), 0)
        piece.fail(TransportError("too late to say"))

    assert tally.is_done
    assert {type(error) for error in tally.failures.values()} == {OutcomeUnknownError}


async def test_several_may_wait_for_one_delivery() -> None:
    tally, whole = parcel(2)
    whole.stored(Partition("t", 0), 0)

    assert await tally.wait() == {}
    assert await tally.wait() == {}
