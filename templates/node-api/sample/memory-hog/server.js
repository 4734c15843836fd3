// Takes memory, and touches every page of it, until it is killed.
const fs = require('node:fs');

const blocks = [];
for (;;) {
  blocks.push(Buffer.alloc(32 * 1024 * 1024, 0xa5));
  fs.writeSync(1, `${blocks.length * 32} MiB\n`);
}
