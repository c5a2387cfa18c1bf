"""warehouse: which observations are there? Each file is loaded once, whatever happens to the process."""

from sqlalchemy import Column, Date, Float, Integer, MetaData, String, Table, delete, insert
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Done, Service, Undo
from services.data_ingestion.bucket import Bucket, open_bucket
from services.data_ingestion.messages import Loaded, LoadRows
from services.data_ingestion.observation import ENRICHED
from services.database import keep_data

warehouse = Service("warehouse")

metadata = MetaData()
observations = Table(
    "observations",
    metadata,
    Column("row", Integer, primary_key=True),
    Column("file", String, nullable=False),
    Column("date", Date, nullable=False),
    Column("precipitation", Float, nullable=False),
    Column("temp_max", Float, nullable=False),
    Column("temp_min", Float, nullable=False),
    Column("wind", Float, nullable=False),
    Column("weather", String, nullable=False),
    Column("season", String, nullable=False),
    Column("temp_mean", Float, nullable=False),
    Column("wind_force", Integer, nullable=False),
)

keep_data(warehouse, metadata)
warehouse.resource(open_bucket)


@warehouse.handles(LoadRows, timeout="10s")
async def load_rows(command: LoadRows, ctx: Context, session: AsyncSession, bucket: Bucket) -> Loaded:
    rows = ENRICHED.validate_json(bucket.read(command.staged))
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        await session.execute(insert(observations), [{"file": command.file, **row.model_dump()} for row in rows])
        return effect.done(Loaded(rows=len(rows)))


@warehouse.handles(Undo[LoadRows])
async def unload_rows(command: Undo[LoadRows], ctx: Context, session: AsyncSession) -> Done:
    """Take out what was loaded. Asked before the load came: from now on it cannot come."""
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        await session.execute(delete(observations).where(observations.c.file == command.command.file))
        return effect.done(Done())
