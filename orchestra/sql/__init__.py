"""What do our tables in a team's database have in common? How they are made, and what a database's errors mean."""
