"""How fast is a saga whose participants do nothing? One at a time, and a hundred in flight."""

from __future__ import annotations

from bench.bench import Bench
from bench.figures import Figure, latency
from bench.three_steps import Deployment, deployed, runs


async def sagas(bench: Bench) -> list[Figure]:
    async with deployed(bench, "bench-sagas") as deployment:
        await deployment.client.run_all(runs("warm", 200), in_flight=20)
        one = await _one_at_a_time(deployment, bench.some(300))
        many = await _in_flight(deployment, bench.some(6000), in_flight=100)
        sizes = [
            Figure(f"sagas: {member.name}, resident", member.resident_mb(), "MB", 150)
            for member in deployment.crew.members
        ]
        return [*one, *many, *sizes]


async def _one_at_a_time(deployment: Deployment, count: int) -> list[Figure]:
    took = [await deployment.client.run(key, data) for key, data in runs("one", count)]
    return latency("sagas: one at a time", took, p50=20)


async def _in_flight(deployment: Deployment, count: int, in_flight: int) -> list[Figure]:
    members = deployment.crew.members
    before = [member.cpu_seconds() for member in members]
    keys = list(runs("many", count))
    seconds = await deployment.client.run_all(keys, in_flight=in_flight)
    used = [member.cpu_seconds() - start for member, start in zip(members, before, strict=True)]
    took = deployment.client.latencies(key for key, _ in keys)
    return [
        Figure(f"sagas: {in_flight} in flight", count / seconds, "/s", 400, "higher", f"n={count}"),
        *latency(f"sagas: {in_flight} in flight", took),
        *(
            Figure(f"sagas: CPU of {member.name}", cpu / count * 1000, "ms/saga", note=f"{cpu / seconds:.0%} of a core")
            for member, cpu in zip(members, used, strict=True)
        ),
        Figure("sagas: ends that came twice", deployment.client.repeats, "", 0),
    ]
