"""A coordinator of meals, loans and families, with a kitchen: what the tests of running flows need on a real Kafka."""

from orchestra import App, Coordinator, Done, Service, Undo
from tests.unit.bus.meal import Kitchen, Meal
from tests.unit.coordinator.family import Charge, Declined, Pack, Parcel, Strict
from tests.unit.coordinator.loan import Loan

kitchen = Kitchen()
porter = Service("porter")


@porter.handles(Pack)
async def pack(command: Pack) -> Done:
    return Done()


@porter.handles(Undo[Pack])
async def unpack(command: Undo[Pack]) -> Done:
    return Done()


@porter.handles(Charge)
async def charge(command: Charge) -> Declined:
    return Declined()


desk = Coordinator("desk", flows=[Meal, Loan, Strict, Parcel], partitions=2)
app = App(services=[kitchen.service, porter], coordinators=[desk])
