SELECT repeat(E'</failure></testcase><testcase name="more"/>'::text, 1000000) FROM generate_series(1, 100);
