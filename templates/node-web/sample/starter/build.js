const fs = require('node:fs');

// Your work: the pages, their style and build.json.
fs.mkdirSync('dist', { recursive: true });
fs.writeFileSync(
  'dist/index.html',
  `<!doctype html>
<html lang="en">
<head><title>A field guide</title></head>
<body><h1>A field guide</h1></body>
</html>
`,
);
