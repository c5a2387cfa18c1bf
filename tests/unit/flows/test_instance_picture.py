"""Does one see how far an instance is?"""

from __future__ import annotations

from orchestra.flows.flow_picture import COMPENSATED, COMPLETED, START, draw
from orchestra.flows.instance_picture import marked
from orchestra.flows.picture import Mark, Picture
from tests.unit.flows.play import Play
from tests.unit.flows.shop import PLACED, CardDeclined, Charged, DriverAssigned, FoodOrder, ItemsReleased, ItemsReserved
from tests.unit.flows.trip import ASKED, Trip


def picture(play: Play) -> Picture:
    steps = play.definition.steps(play.last.state)
    return marked(draw(play.definition), steps, instance=play.id, status=play.status.value)


def marks(play: Play) -> dict[str, Mark | None]:
    return {shape.id: shape.mark for shape in picture(play).nodes}


def test_what_is_done_runs_and_is_not_reached() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", ItemsReserved(order_id="o-1"))

    assert marks(play) == {
        START: Mark.DONE,
        "reserve": Mark.DONE,
        "charge": Mark.RUNNING,
        "assign": Mark.NOT_REACHED,
        COMPLETED: Mark.NOT_REACHED,
        COMPENSATED: Mark.NOT_REACHED,
    }


def test_what_failed_and_what_is_undone() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", ItemsReserved(order_id="o-1"))
    play.answer("charge", CardDeclined(order_id="o-1", reason="no money"))

    assert (marks(play)["charge"], marks(play)["reserve"]) == (Mark.FAILED, Mark.DONE)
    [part] = next(shape for shape in picture(play).nodes if shape.id == "reserve").parts
    assert part.mark is Mark.RUNNING

    play.undone("reserve", ItemsReleased(order_id="o-1"))

    assert (marks(play)["reserve"], marks(play)[COMPENSATED]) == (Mark.UNDONE, Mark.UNDONE)


def test_a_completed_instance_has_reached_its_end() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", ItemsReserved(order_id="o-1"))
    play.answer("charge", Charged(order_id="o-1", amount_cents=2500))
    play.answer("assign", DriverAssigned(order_id="o-1", driver_id="d"))

    assert marks(play)[COMPLETED] is Mark.DONE
    assert marks(play)[COMPENSATED] is Mark.NOT_REACHED


def test_the_title_says_which_and_the_legend_what_the_colours_mean() -> None:
    drawn = picture(Play(FoodOrder, PLACED))

    assert (drawn.title, drawn.subtitle) == ("food-order/o-1: running", "food-order, version 1")
    assert list(drawn.legend) == [Mark.DONE, Mark.RUNNING, Mark.FAILED, Mark.UNDONE, Mark.NOT_REACHED]


def test_a_try_that_is_not_the_first_is_told() -> None:
    play = Play(Trip, ASKED)
    play.time_out("hotel")

    hotel = next(shape for shape in picture(play).nodes if shape.id == "hotel")
    assert "try 2" in hotel.detail
