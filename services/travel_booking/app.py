"""What runs? Each service and the coordinator can be a process of its own, or all of them one (``app``)."""

from orchestra import App, Coordinator
from services.travel_booking.airline import airline
from services.travel_booking.car_rental import car_rental
from services.travel_booking.flow import Trip
from services.travel_booking.hotels import hotels
from services.travel_booking.till import till

travel = Coordinator("travel", flows=[Trip])

app = App(services=[airline, hotels, car_rental, till], coordinators=[travel])
