import { mkdirSync, writeFileSync } from 'node:fs';

const finds = [
  { file: 'kestrel', title: 'Kestrel', text: 'Hovers over fields, facing the wind, its tail spread.' },
  { file: 'hazel', title: 'Hazel', text: 'A shrub of hedges; its catkins open in January.' },
  { file: 'flint', title: 'Flint', text: 'Breaks with an edge like glass; found in chalk.' },
];

const css = 'body { font-family: serif; max-width: 40rem; margin: auto; padding: 1rem }\nimg { width: 6rem }\n';
const leaf =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><path d="M1 9 Q1 1 9 1 Q9 9 1 9" fill="green"/></svg>\n';

const frame = (title, body) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<h1>${title}</h1>
${body}
</body>
</html>
`;

const list = finds.map(({ file, title }) => `<li><a href="${file}.html">${title}</a></li>`).join('\n');
const pages = new Map([['index.html', frame('A field guide', `<img src="leaf.svg" alt="A green leaf">\n<ul>\n${list}\n</ul>`)]]);
for (const { file, title, text } of finds) {
  pages.set(`${file}.html`, frame(title, `<p>${text}</p>\n<p><a href="index.html">All finds</a></p>`));
}

mkdirSync('dist', { recursive: true });
for (const [path, html] of pages) writeFileSync(`dist/${path}`, html);
writeFileSync('dist/style.css', css);
writeFileSync('dist/leaf.svg', leaf);
const built = [...pages].map(([path, html]) => ({ path, bytes: Buffer.byteLength(html) }));
writeFileSync('dist/build.json', JSON.stringify({ pages: built }));
console.log(`built ${built.length} pages`);
