// Finding codes: a combobox with a list of options (ARIA 1.2).

import { announce, byId, el, send } from './dom.js';

const search = byId('search');
const list = byId('found');
let options = [];
let at = -1;
let timer = 0;
let take = () => {};

function closeList() {
  list.hidden = true;
  at = -1;
  search.setAttribute('aria-expanded', 'false');
  search.removeAttribute('aria-activedescendant');
}

function point(to) {
  at = (to + options.length) % options.length;
  [...list.children].forEach((node, n) => node.setAttribute('aria-selected', String(n === at)));
  search.setAttribute('aria-activedescendant', `found-${at}`);
  list.children[at].scrollIntoView({ block: 'nearest' });
}

function choose(found) {
  search.value = '';
  closeList();
  take(found);
}

function option(found, n) {
  const choosing = (event) => { event.preventDefault(); choose(found); };
  return el('li', { id: `found-${n}`, role: 'option', 'aria-selected': 'false', on: { mousedown: choosing } },
    el('span', { class: 'code' }, found.code), el('span', null, found.label));
}

function tellNone(none) {
  byId('found-none').hidden = !none;
  announce(none ? 'No code fits' : '');
}

async function look() {
  const wanted = search.value.trim();
  const answer = wanted ? await send(`/workbench/codes?q=${encodeURIComponent(wanted)}`) : null;
  if (search.value.trim() !== wanted) return;
  options = (answer && answer.body && answer.body.codes) || [];
  tellNone(Boolean(answer && answer.ok) && !options.length);
  list.replaceChildren(...options.map(option));
  if (!options.length) { closeList(); return; }
  list.hidden = false;
  search.setAttribute('aria-expanded', 'true');
  point(0);
}

// Makes the search box work; `taken` is called with the code that was chosen.
export function searchBox(taken) {
  take = taken;
  search.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(look, 120); });
  search.addEventListener('blur', closeList);
  search.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') closeList();
    if (list.hidden) return;
    const acts = { ArrowDown: () => point(at + 1), ArrowUp: () => point(at - 1), Enter: () => choose(options[at]) };
    if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
  });
}
