"""The demo: real orders, real processes, a real Kafka, and kill -9 on the way."""
