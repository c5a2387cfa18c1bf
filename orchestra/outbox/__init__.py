"""How do events leave together with a database transaction? Written in it, and sent once it is committed."""
