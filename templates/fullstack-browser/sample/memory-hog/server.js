// Takes memory, and touches every page of it, until it is killed.
const held = [];
for (;;) held.push(Buffer.alloc(16 * 1024 * 1024, 1));
