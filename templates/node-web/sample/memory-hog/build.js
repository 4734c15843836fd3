// Real pages of memory, outside of the heap that Node itself bounds.
const held = [];
for (;;) held.push(Buffer.alloc(16 * 1024 * 1024, 1));
