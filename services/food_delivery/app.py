"""What runs? Each service and the coordinator can be a process of its own, or all of them one (``app``)."""

from orchestra import App, Coordinator
from services.food_delivery.dispatch import dispatch
from services.food_delivery.flow import FoodOrder
from services.food_delivery.inventory import inventory
from services.food_delivery.orders import orders
from services.food_delivery.payments import payments

food = Coordinator("food", flows=[FoodOrder])

app = App(services=[orders, inventory, payments, dispatch], coordinators=[food])
