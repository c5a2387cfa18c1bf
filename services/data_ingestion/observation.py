"""What is one day's weather, as it comes and as it is kept?"""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter

COLUMNS = ("date", "precipitation", "temp_max", "temp_min", "wind", "weather")

Day = Annotated[date, BeforeValidator(lambda text: str(text).replace("/", "-"))]
"""The station writes 2012/01/01."""


class Observation(BaseModel):
    """A line of a file."""

    date: Day
    precipitation: float = Field(ge=0)  # millimetres
    temp_max: float  # degrees Celsius
    temp_min: float
    wind: float = Field(ge=0)  # metres a second
    weather: str = Field(min_length=1)


class EnrichedObservation(Observation):
    """A row of the warehouse."""

    season: str
    temp_mean: float
    wind_force: int  # Beaufort


OBSERVATIONS = TypeAdapter(list[Observation])
ENRICHED = TypeAdapter(list[EnrichedObservation])
