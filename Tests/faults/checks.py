"""What must hold at the end, once nothing goes wrong any more and everything has drained."""

from world import UPSTREAM


def objects(world, producer, edges):
    """Each edge holds exactly the newest version of each object that was accepted for it, and has seen every deletion."""
    expected = {edge.name: {} for edge in edges}
    for (node, path), message in producer.newest.items():
        if not message.deletes:
            expected[node][path] = message.version, message.uid
    for edge in edges:
        want = expected[edge.name]
        for path in sorted(want.keys() | edge.objects.keys()):
            if want.get(path) != edge.objects.get(path):
                newest = producer.newest.get((edge.name, path))
                world.broken(
                    "newest", f"{edge.name} {path}: has {edge.objects.get(path)}, should have {want.get(path)}; "
                    f"fates {newest.fates if newest else None}, sent {newest.times if newest else 0} times")
        world.count("objects_checked", len(want))
    by_name = {edge.name: edge for edge in edges}
    for (node, path), versions in producer.deleted.items():
        world.count("deletions_checked", len(versions))
        for version in versions:
            if (path, version) not in by_name[node].deletions:
                world.broken("deletion", f"{node} never saw that version {version} deletes {path}")


def receipts(world, producer):
    for message in producer.outstanding():
        world.broken("receipt", f"no receipt for {message.operation} {message.message_id} of {message.edge} {message.path}, sent {message.times} times")
    for receipt in producer.refusals:
        world.broken("receipt", f"refused: {receipt}")


def syncs(world, producer, rows):
    """What the queue remembers as acknowledged is what the edges have."""
    kept = {(row["metadata"]["name"]): row["status"]["objectResourceVersion"] for row in rows}
    for (node, path), message in producer.newest.items():
        if message.deletes:
            continue
        version = kept.get(f"{node}.{message.uid}")
        if version != str(message.version):
            world.broken("syncs", f"{node} {path}: the queue remembers version {version}, the edge has {message.version}")


def upstream(world, edges):
    """Controllers saw what edges sent, once and in order. Kills and broken connections may lose what was on its way, nothing else."""
    kills = [at for at, stage in world.kills if stage in UPSTREAM]
    for edge in edges:
        for connection in edge.connections:
            _connection(world, edge, connection, kills)


def _connection(world, edge, connection, kills):
    seen = world.seen.get((edge.name, connection.number), [])
    world.count("upstream_sent", len(connection.sent))
    numbers = [number for number, _ in seen]
    for before, after in zip(numbers, numbers[1:]):
        if after == before:
            world.broken("upstream", f"{edge.name}: message {after} of connection {connection.number} came twice")
        elif after < before:
            world.broken("upstream", f"{edge.name}: message {after} of connection {connection.number} came after {before}")
    came = set(numbers)
    # From the last message to the first: when the next one that arrived was seen.
    next_seen = None
    arrival = dict(seen)
    for number in range(len(connection.sent) - 1, -1, -1):
        if number in came:
            next_seen = arrival[number]
            continue
        at = connection.sent[number]
        if connection.ended == "cut" and next_seen is None:
            world.count("upstream_lost_with_connection")
        elif any(at - 0.1 <= kill and (next_seen is None or kill <= next_seen + 0.1) for kill in kills):
            world.count("upstream_lost_by_kill")
        else:
            world.broken(
                "upstream", f"{edge.name}: message {number} of {len(connection.sent)} of connection {connection.number} ({connection.ended}) "
                f"was lost, sent at t={at - world.begun:.2f}")


def torn(world, producer):
    """Half a line may come where a stage that writes was killed, and nowhere else."""
    if world.counts["torn_output"] > sum(stage == "up" for _, stage in world.kills):
        world.broken("torn", f"{world.counts['torn_output']} broken lines in the output")
    if producer.torn_receipts > sum(stage == "queue" for _, stage in world.kills):
        world.broken("torn", f"{producer.torn_receipts} broken receipts")
