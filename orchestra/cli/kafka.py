"""How does an operator get a real Kafka on this machine? ``orchestra kafka up``, ``status``, ``down``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from orchestra.testing.kafka_cluster import KafkaCluster

app = typer.Typer(
    help="A real Apache Kafka on this machine, without Docker.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Option(help="Several clusters may run side by side, each under its name.")]
Brokers = Annotated[
    int | None, typer.Option(min=1, max=9, help="How many brokers. ", show_default="1, or as many as the cluster has")
]
Port = Annotated[int, typer.Option(min=0, max=65_000, help="The first broker's port; the others follow. 0: free.")]


@app.command()
def up(name: Name = "default", brokers: Brokers = None, port: Port = 9092) -> None:
    """Start Kafka and wait until it can be used. Says so if it runs already; a kept cluster goes on with its data."""
    from rich.console import Console

    from orchestra.clock import SystemClock
    from orchestra.testing.kafka_cluster import KafkaCluster
    from orchestra.testing.kafka_state import named_directory

    clock = SystemClock()
    begun = clock.elapsed()
    console = Console(stderr=True)
    cluster, started = KafkaCluster.ensure(
        named_directory(name), name=name, brokers=brokers, port=port, console=console
    )
    how = f"is ready after {clock.elapsed() - begun:.1f} s" if started else "is running already"
    typer.echo(f"Kafka '{name}' {how}: {len(cluster.nodes)} broker(s)")
    typer.echo(f"  bootstrap servers  {cluster.bootstrap_servers}")
    typer.echo(f"  data and logs      {cluster.directory}")
    typer.echo(f"  end it with        orchestra kafka down{_option(name)}")


@app.command()
def status(
    name: Annotated[str | None, typer.Option(help="Only this cluster.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: a list of clusters.")] = False,
) -> None:
    """Show the clusters of this machine. Exit code 0 if there are any and all their nodes run, else 1."""
    from orchestra.testing.kafka_cluster import KafkaCluster
    from orchestra.testing.kafka_state import known_names, named_directory

    names = known_names() if name is None else [name]
    found = [cluster for cluster in (KafkaCluster.find(named_directory(one)) for one in names) if cluster is not None]
    rows = [_described(cluster) for cluster in found]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _show(rows, name)
    if not rows or not all(row["running"] for row in rows):
        raise typer.Exit(1)


@app.command()
def down(
    name: Name = "default",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data: the next `up` goes on with it.")] = False,
) -> None:
    """End Kafka's processes and remove its data. Fine if there is nothing to end."""
    from orchestra.testing.kafka_cluster import KafkaCluster
    from orchestra.testing.kafka_state import named_directory

    cluster = KafkaCluster.find(named_directory(name))
    if cluster is None:
        typer.echo(f"There is no Kafka '{name}'")
        return
    cluster.stop(keep=keep)
    typer.echo(f"Kafka '{name}' is down, its data {f'is kept in {cluster.directory}' if keep else 'is removed'}")


def _described(cluster: KafkaCluster) -> dict[str, Any]:
    nodes = [_described_node(cluster, node.id) for node in cluster.nodes]
    return {
        "name": cluster.name,
        "running": all(node["alive"] for node in nodes),
        "bootstrap_servers": cluster.bootstrap_servers,
        "directory": str(cluster.directory),
        "nodes": nodes,
    }


def _described_node(cluster: KafkaCluster, node_id: int) -> dict[str, Any]:
    process = cluster.process(node_id)
    alive = process is not None and process.is_alive()
    return {
        "id": node_id,
        "address": cluster.node(node_id).address,
        "alive": alive,
        "pid": process.pid if process and alive else None,
        "memory_mb": process.memory_mb() if process and alive else None,
        "log": str(cluster.node(node_id).log),
    }


def _show(rows: list[dict[str, Any]], name: str | None) -> None:
    if not rows:
        typer.echo("No Kafka was started here" if name is None else f"There is no Kafka '{name}'")
    for row in rows:
        typer.echo(f"{row['name']}: {'running' if row['running'] else 'not running'} ({row['bootstrap_servers']})")
        for node in row["nodes"]:
            state = f"pid {node['pid']}, {node['memory_mb'] or '?'} MB" if node["alive"] else f"down, see {node['log']}"
            typer.echo(f"  node {node['id']}  {node['address']}  {state}")


def _option(name: str) -> str:
    return "" if name == "default" else f" --name {name}"
