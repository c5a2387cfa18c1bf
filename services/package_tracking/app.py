"""What runs? Each service and the coordinator can be a process of its own, or all of them one (``app``)."""

from orchestra import App, Coordinator
from services.package_tracking.depots import depots
from services.package_tracking.flow import Parcel
from services.package_tracking.notices import notices

tracking = Coordinator("tracking", flows=[Parcel])

app = App(services=[depots, notices], coordinators=[tracking])
