"""Do the checked-in schemas agree with the messages?"""

from pathlib import Path

from orchestra.events.schema import outdated
from services.food_delivery import messages

SCHEMAS = Path(__file__).parents[3] / "schemas"


def test_the_schemas_are_those_of_the_messages() -> None:
    found = outdated([messages], SCHEMAS)

    assert found == [], "run: orchestra schema export services.food_delivery.messages --to schemas"
