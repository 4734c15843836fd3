const fs = require('node:fs');

// One page that links to two that are not there, with an image that says nothing.
const html = `<!doctype html>
<html lang="en">
<head>
<meta name="viewport" content="width=device-width">
<title>Finds</title>
<link rel="stylesheet" href="style.css">
</head>
<body><h1>Finds</h1><img src="style.css"><a href="kestrel.html">Kestrel</a> <a href="hazel.html">Hazel</a></body>
</html>
`;
fs.mkdirSync('dist');
fs.writeFileSync('dist/index.html', html);
fs.writeFileSync('dist/style.css', 'h1 { color: green }\n');
fs.writeFileSync('dist/build.json', JSON.stringify({ pages: [{ path: 'index.html', bytes: html.length }] }));
