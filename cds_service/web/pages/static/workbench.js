// The workbench: a basket of orders, the real hook endpoint behind "Sign", and what came back.

import { announce, byId, el, listed, problem, send, tabs } from './dom.js';
import { assertions, banner, chartOf, facts, orderConcept, refOf } from './chart.js';
import { byUrgency, cardView, coverageView } from './cards.js';
import { searchBox } from './search.js';
import { timingView, traceView } from './trace.js';

const recorded = byId('bench').dataset.recorded === 'yes';
const state = { link: {}, opened: null, request: null, service: '', round: 0 };
const copy = (value) => JSON.parse(JSON.stringify(value));
const openTab = tabs(document.querySelector('[role=tablist]'));

// --- the basket: draft orders of the request; for patient-view, the planned orders of the chart

const inChart = (request) => request && request.hook === 'patient-view';

function bundleOf(request) {
  if (inChart(request)) return (request.prefetch || {}).plannedOrders || null;
  return (request && request.context && request.context.draftOrders) || null;
}

function ordersOf(request) {
  const bundle = bundleOf(request);
  return listed(bundle && bundle.entry).map((e) => e.resource).filter((r) => r && r.resourceType);
}

function setOrders(orders) {
  const bundle = bundleOf(state.request);
  if (!bundle) return;
  const urls = new Map(listed(bundle.entry).filter((e) => e.resource).map((e) => [refOf(e.resource), e.fullUrl]));
  const entry = orders.map((resource) => {
    const fullUrl = urls.get(refOf(resource));
    return fullUrl ? { fullUrl, resource } : { resource };
  });
  if (entry.length) bundle.entry = entry; else delete bundle.entry;
  if (bundle.type === 'searchset') bundle.total = entry.length;
  const { context } = state.request;
  if (Array.isArray(context.selections)) {
    const refs = orders.map(refOf);
    const added = refs.filter((r) => !ordersOf(state.opened).map(refOf).includes(r));
    context.selections = [...new Set([...context.selections.filter((s) => refs.includes(s)), ...added])];
  }
  changed();
}

const KEPT = ['subject', 'encounter', 'requester', 'authoredOn', 'occurrenceDateTime', 'reasonReference', 'reasonCode', 'bodySite', 'requisition'];

function draftOf(found) {
  const beside = ordersOf(state.request)[0] || ordersOf(state.opened)[0] || {};
  const order = { resourceType: 'ServiceRequest', id: `added-${crypto.randomUUID().slice(0, 8)}`, status: 'draft', intent: 'order' };
  for (const name of KEPT) if (beside[name] !== undefined) order[name] = copy(beside[name]);
  if (!order.subject) order.subject = { reference: `Patient/${(state.request.context || {}).patientId || ''}` };
  order.code = { coding: [{ system: found.system, code: found.code, display: found.label }] };
  return order;
}

function addOrder(found) {
  setOrders([...ordersOf(state.request), draftOf(found)]);
  announce(`${found.label} (${found.code}) added`);
}

function removeOrder(ref) {
  setOrders(ordersOf(state.request).filter((o) => refOf(o) !== ref));
  announce('Order removed');
  byId('orders-title').focus();
}

function editOrder(ref, change) {
  const orders = ordersOf(state.request);
  const order = orders.find((o) => refOf(o) === ref);
  if (order) change(order);
  changed(false);
}

const unitsOf = (order) => (order.quantityQuantity && Number(order.quantityQuantity.value)) || 1;

// --- the permalink: a bundled story (or worked case) and its edits by code; pasted data has none

function edits() {
  const before = ordersOf(state.opened);
  const after = ordersOf(state.request);
  const refs = (orders) => new Set(orders.map(refOf));
  const code = (o) => orderConcept(o).code;
  const was = new Map(before.map((o) => [refOf(o), unitsOf(o)]));
  return {
    remove: before.filter((o) => !refs(after).has(refOf(o))).map(code),
    add: after.filter((o) => !refs(before).has(refOf(o))).map(code),
    units: after.filter((o) => unitsOf(o) !== (was.get(refOf(o)) ?? 1)).map((o) => `${code(o)}:${unitsOf(o)}`),
  };
}

function permalink() {
  if (!Object.keys(state.link).length) return null;
  const query = new URLSearchParams(state.link);
  const service = byId('service').value;
  if (service !== state.service) query.append('service', service);
  for (const [name, codes] of Object.entries(edits())) for (const each of codes) query.append(name, each);
  return `${window.location.pathname}?${query.toString().replaceAll('%2F', '/').replaceAll('%3A', ':')}`;
}

async function applyEdits(query) {
  let orders = ordersOf(state.request);
  for (const code of query.getAll('remove')) {
    const at = orders.findIndex((o) => orderConcept(o).code === code);
    if (at >= 0) orders = orders.toSpliced ? orders.toSpliced(at, 1) : orders.filter((_, i) => i !== at);
  }
  setOrders(orders);
  for (const code of query.getAll('add')) {
    const { body } = await send(`/workbench/codes?code=${encodeURIComponent(code)}`);
    if (body && body.codes && body.codes.length) setOrders([...ordersOf(state.request), draftOf(body.codes[0])]);
  }
  for (const each of query.getAll('units')) {
    const [code, count] = each.split(':');
    const order = ordersOf(state.request).find((o) => orderConcept(o).code === code);
    if (order && /^[1-9]\d{0,2}$/.test(count || '')) order.quantityQuantity = { value: Number(count) };
  }
  changed();
}

// --- showing

function badge(order) {
  return assertions(order).map((said) => {
    if (said['satisfied-pa-id']) return el('span', { class: 'badge good' }, `authorised ${said['satisfied-pa-id']}`);
    return said.covered ? el('span', { class: 'badge' }, said.covered.replaceAll('-', ' ')) : null;
  });
}

function orderRow(order, number) {
  const ref = refOf(order);
  const { code, text } = orderConcept(order);
  const name = text || 'Order without a name';
  const note = (listed(order.note)[0] || {}).text;
  const units = el('input', { type: 'number', min: '1', max: '99', value: unitsOf(order), 'aria-label': `Units of ${name}`, on: {
    change: (event) => {
      const count = Math.trunc(Number(event.target.value));
      editOrder(ref, (o) => { if (count > 1) o.quantityQuantity = { value: count }; else delete o.quantityQuantity; });
    },
  } });
  const remark = el('input', { type: 'text', id: `text-${number}`, value: typeof note === 'string' ? note : '', on: {
    change: (event) => editOrder(ref, (o) => { if (event.target.value.trim()) o.note = [{ text: event.target.value.trim() }]; else delete o.note; }),
  } });
  const line = el('div', { class: 'order-text', hidden: !note, id: `text-of-${number}` },
    el('label', { for: `text-${number}` }, 'Note on the order'), remark);
  const toggle = el('button', { type: 'button', class: 'small', 'aria-expanded': String(Boolean(note)), 'aria-controls': line.id, on: { click: () => {
    line.hidden = !line.hidden;
    toggle.setAttribute('aria-expanded', String(!line.hidden));
    if (!line.hidden) remark.focus();
  } } }, 'Note', el('span', { class: 'visually-hidden' }, ` on ${name}`));
  return el('li', { class: 'order', 'data-ref': ref },
    el('div', { class: 'order-main' }, el('span', { class: 'code' }, code || '–'),
      el('div', null, el('span', { class: 'order-name' }, name), badge(order))),
    el('label', { class: 'units' }, el('span', { 'aria-hidden': 'true' }, '×'), units),
    toggle,
    el('button', { type: 'button', class: 'icon', 'aria-label': `Remove ${name}${code ? ` (${code})` : ''}`, title: 'Remove', on: { click: () => removeOrder(ref) } }, '✕'),
    line);
}

function changed(redraw = true) {
  const orders = ordersOf(state.request);
  if (redraw) byId('orders').replaceChildren(...orders.map(orderRow));
  byId('orders-count').textContent = `${orders.length} ${orders.length === 1 ? 'order' : 'orders'}`;
  const link = permalink();
  const { remove, add, units } = edits();
  const edited = remove.length + add.length + units.length > 0;
  byId('reset').hidden = !edited;
  byId('permalink').hidden = !link;
  if (link) {
    byId('permalink').href = link;
    window.history.replaceState(null, '', link);
  }
  const verb = { 'patient-view': 'Open the chart', 'order-select': 'Select orders' }[state.request && state.request.hook] || 'Sign orders';
  byId('sign').textContent = state.round ? `${verb} again` : verb;
}

const waiting = (text) => el('p', { class: 'none empty' }, text);

function clearAnswer() {
  state.round = 0;
  byId('panel-cards').replaceChildren(waiting(inChart(state.request)
    ? 'Open the chart to see what the service says about the orders that wait in it.'
    : 'Sign the orders to see what the service answers.'));
  for (const name of ['trace', 'timing']) byId(`panel-${name}`).replaceChildren(waiting('Nothing yet.'));
  showExchange(null);
}

function open(opened, link) {
  state.opened = copy(opened.request);
  state.request = copy(opened.request);
  state.link = link;
  const chart = chartOf(state.request);
  byId('about').textContent = opened.about || '';
  byId('patient').replaceChildren(...banner(chart, (state.request.context || {}).patientId));
  byId('facts').replaceChildren(...facts(chart));
  byId('orders-title').textContent = inChart(state.request) ? 'Orders in the chart' : 'Orders to sign';
  state.service = chooseService(opened.service);
  openTab('tab-cards');
  clearAnswer();
  changed();
}

function chooseService(wanted) {
  const select = byId('service');
  const hook = state.request.hook;
  for (const option of select.options) option.hidden = option.disabled = Boolean(hook) && option.dataset.hook !== hook;
  const usable = [...select.options].filter((o) => !o.disabled);
  select.value = (usable.find((o) => o.value === wanted) || usable[0] || select.options[0]).value;
  return select.value;
}

function code(title, value) {
  const text = value === null ? 'Nothing yet.' : JSON.stringify(value, null, 2);
  const copied = () => navigator.clipboard.writeText(text).then(() => announce('Copied'), () => announce('Not copied'));
  const button = value === null || !navigator.clipboard ? null
    : el('button', { type: 'button', class: 'small', 'aria-label': `Copy: ${title}`, on: { click: copied } }, 'Copy');
  return el('section', null, el('div', { class: 'panel-head' }, el('h3', null, title), button),
    el('pre', { tabindex: '0', role: 'region', 'aria-label': title }, text));
}

function showExchange(answer) {
  const service = byId('service').value;
  const asked = recorded ? `POST /cds-services/${service}` : `${service}, evaluated here without a record`;
  byId('panel-exchange').replaceChildren(code(`Request: ${asked}`, state.request),
    code(answer ? `Response: HTTP ${answer.status}` : 'Response', answer && answer.body));
}

// --- signing

async function sign() {
  byId('sign').disabled = true;
  const service = byId('service').value;
  const request = { ...state.request, hookInstance: crypto.randomUUID() };
  state.request.hookInstance = request.hookInstance;
  const evaluated = send('/workbench/trace', { service, request });
  const answer = recorded ? await send(`/cds-services/${encodeURIComponent(service)}`, request) : unpacked(await evaluated);
  state.round += 1;
  await showAnswer(answer, service);
  showExchange(answer);
  const told = await evaluated;
  const usable = told.ok ? null : problem(told);
  byId('panel-trace').replaceChildren(...(usable ? [usable] : traceView(told.body, namesOf(request))));
  byId('panel-timing').replaceChildren(...(usable ? [usable.cloneNode(true)] : timingView(told.body, recorded ? answer.ms : null)));
  byId('sign').disabled = false;
  changed(false);
}

const namesOf = (request) => new Map(ordersOf(request).map((o) => [refOf(o), orderConcept(o).text]));

const unpacked = (told) => (told.ok ? { ...told, body: told.body.response } : told);

async function showAnswer(answer, service) {
  const panel = byId('panel-cards');
  openTab('tab-cards');
  if (window.matchMedia('(max-width: 60rem)').matches) document.querySelector('.advice').scrollIntoView();
  if (!answer.ok || !answer.body) {
    panel.replaceChildren(problem(answer));
    return;
  }
  const cards = byUrgency(answer.body.cards);
  const rendered = await send('/workbench/markdown', { texts: cards.map((c) => c.detail || '') });
  const html = (rendered.body && rendered.body.html) || [];
  const act = {
    accept: (card, suggestion) => accept(service, card, suggestion),
    override: (card, given) => overrule(service, card, given),
  };
  const views = cards.map((card, n) => cardView(card, n, html[n], act));
  const quiet = el('div', { class: 'quiet-answer' }, el('h3', null, 'No cards'), el('p', null, 'Nothing to warn about. Silence is an answer too: the tab "Why" shows what was looked at.'));
  panel.replaceChildren(...(views.length ? views : [quiet]), ...[coverageView(answer.body.systemActions, ordersOf(state.request).length)].filter(Boolean));
  announce(cards.length ? `${cards.length} ${cards.length === 1 ? 'card' : 'cards'}: ${cards.map((c) => c.summary).join('. ')}` : 'No cards');
}

// --- what a clinician does with a card

function settle(card, text, good) {
  const view = document.querySelector(`[data-card="${CSS.escape(card.uuid)}"]`);
  if (!view) return;
  view.dataset.settled = good ? 'yes' : 'no';
  view.querySelector('.outcome').textContent = text;
  if (good) for (const part of view.querySelectorAll('button, input, textarea')) part.disabled = true;
}

async function feedback(service, item) {
  if (!recorded) return 'Nothing was recorded: this listener only evaluates.';
  const sent = { ...item, outcomeTimestamp: new Date().toISOString() };
  const answer = await send(`/cds-services/${encodeURIComponent(service)}/feedback`, { feedback: [sent] });
  return answer.ok ? 'Feedback recorded.' : `Feedback was refused (HTTP ${answer.status}).`; // one item: kept or refused
}

function apply(suggestion) {
  let orders = ordersOf(state.request);
  for (const action of listed(suggestion.actions)) {
    if (action.type === 'delete') orders = orders.filter((o) => refOf(o) !== action.resourceId);
    if (action.type === 'create' && action.resource) orders = [...orders, copy(action.resource)];
    if (action.type === 'update' && action.resource) orders = orders.map((o) => (refOf(o) === refOf(action.resource) ? copy(action.resource) : o));
  }
  setOrders(orders);
}

async function accept(service, card, suggestion) {
  apply(suggestion);
  settle(card, `Accepted: ${suggestion.label}.`, true);
  const said = await feedback(service, { card: card.uuid, outcome: 'accepted', acceptedSuggestions: [{ id: suggestion.uuid }] });
  settle(card, `Accepted: ${suggestion.label}. ${said} Sign again to see the new answer.`, true);
  byId('sign').focus();
}

async function overrule(service, card, { reason, comment }) {
  const given = {};
  if (reason) given.reason = reason;
  if (comment) given.userComment = comment;
  const item = { card: card.uuid, outcome: 'overridden' };
  if (Object.keys(given).length) item.overrideReason = given;
  const said = await feedback(service, item);
  settle(card, `Overridden${reason ? `: ${reason.display || reason.code}` : ''}. ${said}`, true);
}

// --- opening stories, worked cases, and what is pasted

async function openFrom(path, link) {
  const answer = await send(path);
  if (!answer.ok) { byId('panel-cards').replaceChildren(problem(answer)); return false; }
  byId('story').value = link.story || '';
  open(answer.body, link);
  return true;
}

async function start() {
  const query = new URLSearchParams(window.location.search);
  const worked = query.get('case');
  const name = query.get('story') || byId('story').options[0].value;
  const path = worked ? `/workbench/cases/${worked.split('/').map(encodeURIComponent).join('/')}` : `/workbench/stories/${encodeURIComponent(name)}`;
  if (!await openFrom(path, worked ? { case: worked } : { story: name })) return;
  if (query.has('service')) chooseService(query.get('service'));
  await applyEdits(query);
}

byId('story').addEventListener('change', (event) => openFrom(`/workbench/stories/${event.target.value}`, { story: event.target.value }));
byId('service').addEventListener('change', () => { clearAnswer(); changed(false); });
byId('pick').addEventListener('submit', (event) => event.preventDefault());
byId('sign').addEventListener('click', sign);
searchBox(addOrder);
byId('reset').addEventListener('click', () => { state.request = copy(state.opened); clearAnswer(); changed(); byId('sign').focus(); });

byId('paste').addEventListener('click', () => { byId('paste-problem').replaceChildren(); byId('paste-dialog').showModal(); });
byId('paste-cancel').addEventListener('click', () => byId('paste-dialog').close());
byId('paste-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const answer = await send('/workbench/request', byId('paste-text').value);
  if (!answer.ok) { byId('paste-problem').replaceChildren(problem(answer)); return; }
  byId('paste-dialog').close();
  byId('story').value = '';
  window.history.replaceState(null, '', window.location.pathname);
  open({ request: answer.body, service: '', about: 'Pasted data. It has no link.' }, {});
});

start();
