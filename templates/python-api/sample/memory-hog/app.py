"""Takes memory, and touches every page of it, until it is killed."""

blocks = []
while True:
    blocks.append(b"\xa5" * (32 * 1024 * 1024))
    print(f"{len(blocks) * 32} MiB", flush=True)
