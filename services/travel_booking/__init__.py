"""A trip is a flight, a hotel and a car: booked at the same time, all of them or none."""
