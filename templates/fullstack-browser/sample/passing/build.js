// Puts the page together: one file with its style and its script.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const read = (name) => readFileSync(`src/${name}`, 'utf8');

mkdirSync('dist', { recursive: true });
const page = read('page.html').replace('/* style */', () => read('style.css')).replace('/* script */', () => read('page.js'));
writeFileSync('dist/index.html', page);
console.log(`built ${page.length} characters`);
