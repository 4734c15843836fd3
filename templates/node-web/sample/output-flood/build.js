const { writeSync } = require('node:fs');

const line = Buffer.from('x'.repeat(64 * 1024 - 1) + '\n');
for (;;) {
  try {
    writeSync(1, line);
  } catch (error) {
    if (error.code !== 'EAGAIN') throw error;
  }
}
