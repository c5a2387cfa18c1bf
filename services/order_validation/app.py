"""What runs? Each service and the coordinator can be a process of its own, or all of them one (``app``)."""

from orchestra import App, Coordinator
from services.order_validation.cards import cards
from services.order_validation.flow import MailOrderValidation, OrderValidation
from services.order_validation.fraud import fraud
from services.order_validation.stock import stock

validation = Coordinator("validation", flows=[OrderValidation, MailOrderValidation])

app = App(services=[stock, cards, fraud], coordinators=[validation])
