// Prints for ever, as fast as it can, before it listens.
const fs = require('node:fs');

const line = Buffer.from('all work and no play makes a dull log\n'.repeat(4096));
for (;;) {
  try {
    fs.writeSync(1, line);
  } catch (error) {
    if (error.code !== 'EAGAIN') throw error; // a full pipe: go on
  }
}
