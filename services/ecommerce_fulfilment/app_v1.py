"""What ran before? The coordinator with the old version alone."""

from orchestra import Coordinator
from services.ecommerce_fulfilment.flow_v1 import FulfilmentV1

fulfilment = Coordinator("fulfilment", flows=[FulfilmentV1])
