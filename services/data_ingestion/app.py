"""What runs? Each service and the coordinator can be a process of its own, or all of them one (``app``)."""

from orchestra import App, Coordinator
from services.data_ingestion.enrichment import enrichment
from services.data_ingestion.flow import Ingestion
from services.data_ingestion.intake import intake
from services.data_ingestion.warehouse import warehouse

ingestion = Coordinator("ingestion", flows=[Ingestion])

app = App(services=[intake, enrichment, warehouse], coordinators=[ingestion])
