"""The port on Apache Kafka: the only place that knows aiokafka."""
