// Serves the page. Your work: the errands.
const { createServer } = require('node:http');

const page = `<!doctype html>
<html lang="en">
<head><title>Errands</title></head>
<body>
<h1>Errands</h1>
<form><label>New errand <input name="text"></label> <button>Add</button></form>
</body>
</html>
`;

createServer((_request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(page);
}).listen(Number(process.env.PORT), '127.0.0.1');
