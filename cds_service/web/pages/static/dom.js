// Builds elements from data. Text is always text: nothing here parses HTML.

export function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'on') for (const [type, act] of Object.entries(value)) node.addEventListener(type, act);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

export const listed = (value) => (Array.isArray(value) ? value.filter((v) => v && typeof v === 'object') : []);

export const words = (code) => String(code || '').replaceAll('-', ' ');

export function announce(text) {
  byId('status').textContent = text;
}

// An answer as { ok, status, body, ms }; `body` is null where the answer is not JSON.
export async function send(path, body) {
  const started = performance.now();
  const options = body === undefined
    ? { headers: { Accept: 'application/json' } }
    : {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    };
  try {
    const response = await fetch(path, options);
    const text = await response.text();
    const ms = performance.now() - started;
    let parsed = null;
    try { parsed = JSON.parse(text); } catch { /* shown by its status */ }
    return { ok: response.ok, status: response.status, body: parsed, ms };
  } catch {
    return { ok: false, status: 0, body: null, ms: performance.now() - started };
  }
}

// An OperationOutcome as a list of what is wrong and where.
export function problem(answer) {
  const issues = listed(answer.body && answer.body.issue);
  const lines = issues.map((issue) => el('li', null,
    (issue.details && issue.details.text) || issue.diagnostics || issue.code));
  const title = answer.status ? `Refused: HTTP ${answer.status}` : 'The service cannot be reached';
  return el('div', { class: 'problem', role: 'alert' }, el('h3', null, title),
    lines.length ? el('ul', null, lines) : null);
}

export function tabs(list) {
  const all = [...list.querySelectorAll('[role=tab]')];
  const open = (tab, focus) => {
    for (const each of all) {
      const chosen = each === tab;
      each.setAttribute('aria-selected', String(chosen));
      each.tabIndex = chosen ? 0 : -1;
      byId(each.getAttribute('aria-controls')).hidden = !chosen;
    }
    if (focus) tab.focus();
  };
  list.addEventListener('click', (event) => {
    const tab = event.target.closest('[role=tab]');
    if (tab) open(tab, false);
  });
  list.addEventListener('keydown', (event) => {
    const at = all.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    open(all[(to + all.length) % all.length], true);
  });
  return (id) => open(byId(id), false);
}
