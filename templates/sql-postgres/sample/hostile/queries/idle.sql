SELECT repeat('x', 100000000) FROM generate_series(1, 20);
