"""``python -m orchestra.cli``: the command line without its script; how worker processes are started."""

from orchestra.cli.main import app

app(prog_name="orchestra")
