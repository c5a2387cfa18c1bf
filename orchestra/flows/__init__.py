"""What happens next in this business process? Pure: no asyncio, no clock, no Kafka."""
