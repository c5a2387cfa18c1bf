"""What runs? The services, and a coordinator that has both versions: new orders start on the newest."""

from orchestra import App, Coordinator
from services.ecommerce_fulfilment.billing import billing
from services.ecommerce_fulfilment.carrier import carrier
from services.ecommerce_fulfilment.flow import Fulfilment
from services.ecommerce_fulfilment.flow_v1 import FulfilmentV1
from services.ecommerce_fulfilment.stockroom import stockroom

fulfilment = Coordinator("fulfilment", flows=[FulfilmentV1, Fulfilment])

app = App(services=[stockroom, billing, carrier], coordinators=[fulfilment])
