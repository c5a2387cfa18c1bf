"""What do all demos have in common? A Kafka, processes, kills, a screen, and a reconciliation at the end."""
