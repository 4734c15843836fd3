const form = document.querySelector('form');
const list = document.querySelector('ul');
const complaint = document.querySelector('[role=alert]');

async function ask(method, path, body) {
  const response = await fetch(path, { method, body: body && JSON.stringify(body) });
  const value = await response.json();
  if (!response.ok) throw new Error(value.error);
  return value;
}

function item({ id, text, done }) {
  const li = document.createElement('li');
  const label = document.createElement('label');
  const box = document.createElement('input');
  const remove = document.createElement('button');
  box.type = 'checkbox';
  box.checked = done;
  box.onchange = () => attempt(() => ask('PATCH', `/errands/${id}`, { done: box.checked }));
  label.append(box, ` ${text}`);
  remove.textContent = '×';
  remove.ariaLabel = `Remove ${text}`;
  remove.onclick = () => attempt(() => ask('DELETE', `/errands/${id}`));
  li.append(label, remove);
  return li;
}

async function show() {
  list.replaceChildren(...(await ask('GET', '/errands')).map(item));
}

/** Does one thing, shows why it failed if it did, and the list as it is then. */
async function attempt(change) {
  complaint.textContent = '';
  try {
    await change();
    await show();
  } catch (error) {
    complaint.textContent = error.message;
  }
}

form.onsubmit = (event) => {
  event.preventDefault();
  attempt(async () => {
    await ask('POST', '/errands', { text: form.text.value });
    form.reset();
  });
};
show();
