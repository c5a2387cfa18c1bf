"""What runs in the test of versions: the services of the food order, and coordinators with one version or another."""

from __future__ import annotations

import asyncio

from orchestra import App, Context, Coordinator, Done, Service
from tests.unit.flows.shop import (
    AssignDriver,
    CardDeclined,
    Charged,
    ChargePayment,
    DriverAssigned,
    FoodOrder,
    ItemsReleased,
    ItemsReserved,
    NoDriverFree,
    OutOfStock,
    ReleaseItems,
    ReserveItems,
)
from tests.unit.flows.shop_versions import Altered, FoodOrderV2, NoAnswer, SendMail

inventory, payments, dispatch, mail = Service("inventory"), Service("payments"), Service("dispatch"), Service("mail")


@inventory.handles(ReserveItems)
async def reserve(command: ReserveItems, ctx: Context) -> ItemsReserved | OutOfStock:
    return ItemsReserved(order_id=command.order_id)


@inventory.handles(ReleaseItems)
async def release(command: ReleaseItems, ctx: Context) -> ItemsReleased:
    return ItemsReleased(order_id=command.order_id)


@payments.handles(ChargePayment)
async def charge(command: ChargePayment, ctx: Context) -> Charged | CardDeclined:
    await asyncio.sleep(0.5)
    if int(command.order_id) % 10 == 0:
        return CardDeclined(order_id=command.order_id, reason="no money")
    return Charged(order_id=command.order_id, amount_cents=command.amount_cents)


@dispatch.handles(AssignDriver)
async def assign(command: AssignDriver, ctx: Context) -> DriverAssigned | NoDriverFree:
    await asyncio.sleep(1.0)
    return DriverAssigned(order_id=command.order_id, driver_id="d")


@mail.handles(SendMail)
async def send(command: SendMail, ctx: Context) -> Done | NoAnswer:
    return Done()


class Following(FoodOrderV2, name="food-order", version=2, migrates=(FoodOrder,)):
    """Version 2, which takes over what runs on version 1."""


services = App(services=[inventory, payments, dispatch, mail])
old = Coordinator("food", flows=[FoodOrder], partitions=4)
both = Coordinator("food", flows=[FoodOrder, FoodOrderV2], partitions=4)
following = Coordinator("food", flows=[Following], partitions=4)
altered = Coordinator("food", flows=[Altered], partitions=4)
