"""A proxy that does to a client what networks and services do, on a seeded schedule, and keeps count.

In a test:

    async with FaultProxy(server.url, Schedule(seed, PRESETS["heavy"])) as proxy:
        ...  # talk to proxy.url with any DynamoDB or S3 client
        assert not proxy.account.judge(undisturbed, kills, per_commit)

By hand: it prints one JSON line with its URL and its seed when it listens; the same seed and the same requests meet
the same faults. GET /_account shows the account (`?window=5` sets the windows, `?pages` lists every page), DELETE
resets it.

    python -m tests.kit.faults --upstream http://127.0.0.1:8000 --seed 7 --faults light --rate unprocessed=0.2
"""
