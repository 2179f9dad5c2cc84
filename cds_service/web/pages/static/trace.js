// The trace as a tree: what was asked, how it came out, and which item of the chart it rests on.

import { announce, el, words } from './dom.js';

const SIGN = { met: '✓', 'not-met': '✗', unknown: '?' };
const SAID = { met: 'met', 'not-met': 'not met', unknown: 'unknown' };
const JOIN = { all: 'All of', any: 'Any of', not: 'Not', at_least: 'At least some of', always: 'Always' };

const items = (ref) => [...document.querySelectorAll('[data-ref]')].filter((n) => n.dataset.ref === ref);

function light(ref, on) {
  for (const node of items(ref)) node.classList.toggle('lit', on);
}

function show(ref) {
  const found = items(ref);
  for (const node of document.querySelectorAll('.pinned')) node.classList.remove('pinned');
  for (const node of found) node.classList.add('pinned');
  if (found.length) found[0].scrollIntoView({ block: 'center' });
  announce(found.length ? `Shown in the chart: ${found[0].textContent}` : `${ref} is not shown in the chart`);
}

function evidence(fact) {
  const ref = fact.ref;
  return el('button', { type: 'button', class: 'evidence', on: {
    mouseenter: () => light(ref, true), mouseleave: () => light(ref, false),
    focus: () => light(ref, true), blur: () => light(ref, false), click: () => show(ref),
  } }, el('span', { class: 'ref' }, ref), ' ', [fact.text, fact.code].filter(Boolean).join(' '));
}

function citation(id, sources) {
  const source = sources[id] || { title: id };
  const when = source.date || source.year;
  return el('li', null, [source.title, source.section, when].filter(Boolean).join(', '),
    source.confidence ? ` (${source.confidence})` : '');
}

function line(node) {
  const name = JOIN[node.op] ? el('em', null, JOIN[node.op])
    : el('span', null, node.text || words(node.id));
  return [el('span', { class: `sign ${node.outcome}`, 'aria-hidden': 'true' }, SIGN[node.outcome] || '·'),
    name, el('span', { class: 'said' }, ` ${SAID[node.outcome] || node.outcome}`)];
}

function branch(node, sources, open) {
  const inside = [];
  if (node.evidence) inside.push(el('div', { class: 'evidences' }, node.evidence.map(evidence)));
  if (node.missing) inside.push(el('ul', { class: 'wanted' }, node.missing.map((m) => el('li', null, `Wanted: ${m.text} (${m.source}: ${m.state})`))));
  if (node.cites) inside.push(el('ul', { class: 'cites' }, node.cites.map((c) => citation(c, sources))));
  if (node.children) inside.push(el('ul', { class: 'tree' }, node.children.map((c) => branch(c, sources, node.outcome !== 'not-met' || open > 0))));
  if (!inside.length) return el('li', { class: 'leaf' }, line(node));
  const opened = node.outcome !== 'not-met';
  return el('li', null, el('details', { open: opened }, el('summary', null, line(node)), inside));
}

const OUTCOME = { supported: 'good', 'not-supported': 'bad', 'needs-information': 'open', 'not-addressed': 'still' };

export const outcomeTag = (outcome) => el('span', { class: `outcome-tag ${OUTCOME[outcome] || 'still'}` }, words(outcome));

const FINDING = { coding: 'Coding remark', safety: 'Safety remark' };
const ROLE = { secondary: ', for the secondary coverage', guideline: ', guideline' };

function determination(d, policy, names, open) {
  const { authorised_by: authorised, decided_by: rule } = d.trace;
  const facts = [`version ${d.version}`, rule && `rule ${rule}`,
    d.prior_authorization !== 'unknown' && `prior authorization ${words(d.prior_authorization)}`].filter(Boolean);
  return el('details', { class: 'determination', open },
    el('summary', null, el('span', { class: 'code' }, d.code || '?'), el('span', null, names.get(d.order) || d.order),
      outcomeTag(d.outcome), el('span', { class: 'sub by' }, `${policy.title}${ROLE[d.role] || ''} `,
        authorised ? el('span', { class: 'badge good' }, `authorised ${authorised.number || ''}`) : null)),
    el('p', { class: 'note' }, `${d.order}: ${facts.join(', ')}. `, el('a', { href: `/policies/${d.policy}` }, 'Read the policy')),
    authorised ? el('p', { class: 'note' }, 'The authorization stands, whatever the policy alone would say.') : null,
    el('ul', { class: 'tree' }, (d.trace.children || []).map((c) => branch(c, policy.sources, 1))));
}

export function traceView(told, names) {
  const spoken = told.determinations.filter((d) => d.policy);
  const weight = ['not-supported', 'needs-information', 'supported', 'not-addressed'];
  spoken.sort((a, b) => weight.indexOf(a.outcome) - weight.indexOf(b.outcome));
  const block = (d, n) => determination(d, told.policies[`${d.policy}@${d.version}`] || { title: d.policy, sources: {} }, names, n === 0);
  const said = spoken.filter((d) => d.outcome !== 'not-addressed').map(block);
  const passed = spoken.filter((d) => d.outcome === 'not-addressed').map((d) => block(d, -1));
  const silent = told.determinations.filter((d) => !d.policy && !spoken.some((s) => s.order === d.order));
  const sources = Object.entries(told.sources).map(([name, s]) => el('li', null, `${words(name)}: ${s.state}${s.detail ? `, ${s.detail}` : ''}`));
  return [
    said.length ? el('p', { class: 'note' }, 'Point at a piece of evidence to see it in the chart.') : null,
    spoken.length ? said : el('p', { class: 'none' }, 'No policy speaks to these orders.'),
    passed.length ? el('details', { class: 'passed', open: !said.length },
      el('summary', null, `Looked at and not addressed (${passed.length})`), passed) : null,
    silent.length ? el('p', { class: 'note' }, `No policy speaks to ${silent.map((d) => d.code || d.order).join(', ')}.`) : null,
    told.findings.length ? el('ul', { class: 'findings' }, told.findings.map((f) => el('li', null, el('b', null, `${FINDING[f.kind] || words(f.kind)}: `), f.text))) : null,
    el('details', { class: 'sources' }, el('summary', null, 'What was read'), el('ul', null, sources)),
  ].flat().filter(Boolean);
}

export function timingView(told, roundTrip) {
  const stages = Object.entries(told.timing);
  const total = stages.reduce((sum, [, ms]) => sum + ms, 0);
  const most = Math.max(...stages.map(([, ms]) => ms), 0.001);
  const rows = stages.map(([name, ms]) => el('tr', null, el('th', { scope: 'row' }, words(name)),
    el('td', { class: 'number' }, `${ms.toFixed(2)} ms`),
    el('td', { class: 'bar', 'aria-hidden': 'true' }, el('progress', { max: most, value: ms, 'aria-label': name }))));
  return [
    el('div', { class: 'figures' },
      el('p', null, el('b', null, `${total.toFixed(1)} ms`), ' in the service'),
      roundTrip === null ? null : el('p', null, el('b', null, `${roundTrip.toFixed(0)} ms`), ' until the browser had the cards')),
    el('table', { class: 'timing' }, el('caption', null, 'Stages, measured on the same request for the tab "Why"'),
      el('tbody', null, rows)),
    el('p', { class: 'note' }, `Content ${told.revision}. The call itself is also made durable in the ledger before it is answered.`),
  ];
}
