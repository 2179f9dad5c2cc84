// CDS cards as an EHR shows them: indicator, suggestions as buttons, override with a reason, links.

import { el, listed, words } from './dom.js';
import { assertions, orderConcept } from './chart.js';

const LABEL = { info: 'Information', warning: 'Warning', critical: 'Critical' };
const ORDER = ['critical', 'warning', 'info'];

const web = (url) => (/^https?:\/\//.test(String(url)) ? String(url) : null);

function outward(label, url) {
  return web(url) ? el('a', { href: web(url), target: '_blank', rel: 'noreferrer noopener' }, label) : el('span', null, label);
}

function override(card, number, act) {
  const reasons = listed(card.overrideReasons);
  if (!card.uuid) return null;
  const name = `reason-${number}`;
  const choices = reasons.map((r, i) => el('label', { class: 'choice' },
    el('input', { type: 'radio', name, value: String(i) }), el('span', null, r.display || r.code)));
  const comment = el('textarea', { rows: '2', id: `${name}-comment` });
  const form = el('form', { class: 'override', on: {
    submit: (event) => {
      event.preventDefault();
      const chosen = form.querySelector('input:checked');
      act({ reason: chosen ? reasons[Number(chosen.value)] : null, comment: comment.value.trim() });
    },
  } }, el('fieldset', null, el('legend', null, 'Why do the orders stay as they are?'), choices),
  el('label', { for: `${name}-comment` }, 'Comment'), comment,
  el('button', { type: 'submit' }, 'Keep the orders'));
  return el('details', { class: 'override-box' }, el('summary', null, 'Override…'), form);
}

export function cardView(card, number, html, act) {
  const indicator = LABEL[card.indicator] ? card.indicator : 'info';
  const detail = el('div', { class: 'detail' });
  detail.innerHTML = html || ''; // made by the service from Markdown: no attributes, links or raw HTML come out of it
  const suggestions = listed(card.suggestions).map((s) => el('button', {
    type: 'button', class: s.isRecommended ? 'suggestion recommended' : 'suggestion',
    on: { click: () => act.accept(card, s) },
  }, s.label));
  const source = card.source || {};
  return el('article', { class: 'card', 'data-indicator': indicator, 'aria-labelledby': `card-${number}`, 'data-card': card.uuid },
    el('header', null, el('span', { class: 'indicator' }, LABEL[indicator]), el('h3', { id: `card-${number}` }, card.summary),
      el('p', { class: 'source' }, outward(source.label || '', source.url))),
    suggestions.length ? el('div', { class: 'suggestions', role: 'group', 'aria-label': 'Suggestions' }, suggestions) : null,
    el('p', { class: 'outcome', role: 'status' }),
    detail,
    listed(card.links).length ? el('p', { class: 'links' }, listed(card.links).map((l) => outward(l.label, l.url))) : null,
    override(card, number, (given) => act.override(card, given)));
}

export function byUrgency(cards) {
  return [...listed(cards)].sort((a, b) => ORDER.indexOf(a.indicator) - ORDER.indexOf(b.indicator));
}

// coverage-information that came back as system actions, one row per order and coverage.
export function coverageView(actions, orders) {
  const rows = listed(actions).flatMap((a) => assertions(a.resource || {}).map((said) => {
    const { code, text } = orderConcept(a.resource);
    return el('tr', null, el('th', { scope: 'row' }, el('span', { class: 'code' }, code), ' ', text),
      el('td', null, words(said.covered) || '–'), el('td', null, words(said['pa-needed']) || '–'),
      el('td', null, words(said['doc-needed']) || '–'));
  }));
  if (!rows.length) return null;
  const heads = ['Order', 'Covered', 'Prior authorization', 'Documents'].map((h) => el('th', { scope: 'col' }, h));
  return el('section', { class: 'panel coverage-information' }, el('h3', null, 'Coverage information'),
    rows.length < orders ? el('p', { class: 'note' }, 'Only orders about which there is something new.') : null,
    el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Coverage information' },
      el('table', null, el('thead', null, el('tr', null, heads)), el('tbody', null, rows))));
}
