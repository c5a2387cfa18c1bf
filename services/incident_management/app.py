"""What runs? The service and the coordinator can be a process of its own each, or both of them one (``app``)."""

from orchestra import App, Coordinator
from services.incident_management.flow import Incident
from services.incident_management.pager import pager

incidents = Coordinator("incidents", flows=[Incident])

app = App(services=[pager], coordinators=[incidents])
