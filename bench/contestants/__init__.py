"""Who is compared? Each module is a consumer of the same orders, run as a process of its own."""
