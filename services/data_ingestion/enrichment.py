"""enrichment: what else is known of an observation?"""

from bisect import bisect_right

from orchestra import Service
from services.data_ingestion.bucket import Bucket, open_bucket
from services.data_ingestion.messages import Enriched, EnrichRows
from services.data_ingestion.observation import ENRICHED, OBSERVATIONS, EnrichedObservation, Observation

enrichment = Service("enrichment")
enrichment.resource(open_bucket)

SEASONS = ("winter", "winter", "spring", "spring", "spring", "summer", "summer", "summer", "autumn", "autumn", "autumn")
BEAUFORT = (0.5, 1.6, 3.4, 5.5, 8.0, 10.8, 13.9, 17.2, 20.8, 24.5, 28.5, 32.7)
"""From so many metres a second on, the wind's force is one higher."""


@enrichment.handles(EnrichRows, timeout="10s")
def enrich_rows(command: EnrichRows, bucket: Bucket) -> Enriched:
    rows = [enrich(row) for row in OBSERVATIONS.validate_json(bucket.read(command.staged))]
    staged = f"enriched/{command.file}.json"
    bucket.write(staged, ENRICHED.dump_json(rows).decode())
    return Enriched(staged=staged)


def enrich(row: Observation) -> EnrichedObservation:
    return EnrichedObservation(
        **row.model_dump(),
        season=SEASONS[row.date.month - 1] if row.date.month < 12 else "winter",
        temp_mean=round((row.temp_max + row.temp_min) / 2, 2),
        wind_force=bisect_right(BEAUFORT, row.wind),
    )
