// Reads FHIR resources of a hook request for display. Charts are strangers: every element may be missing or odd.

import { el, listed } from './dom.js';

export const refOf = (resource) => `${resource.resourceType}/${resource.id}`;

const textOf = (value) => (typeof value === 'string' ? value : '');

export function concept(value) {
  const coding = listed(value && value.coding)[0] || {};
  return { code: textOf(coding.code), text: textOf(value && value.text) || textOf(coding.display) };
}

export function orderConcept(order) {
  const name = ['code', 'codeCodeableConcept', 'medicationCodeableConcept', 'serviceType'].find((n) => order[n]);
  return concept(listed(order[name])[0] || order[name]);
}

const resourcesOf = (value) => {
  if (!value || typeof value !== 'object') return [];
  if (value.resourceType !== 'Bundle') return value.resourceType ? [value] : [];
  return listed(value.entry).map((e) => e.resource).filter((r) => r && r.resourceType);
};

export function chartOf(request) {
  const found = Object.values((request && request.prefetch) || {}).flatMap(resourcesOf);
  const seen = new Set();
  const once = found.filter((r) => !seen.has(refOf(r)) && seen.add(refOf(r)));
  const of = (kind) => once.filter((r) => r.resourceType === kind);
  return {
    patient: of('Patient')[0],
    conditions: of('Condition'),
    coverage: of('Coverage'),
    procedures: of('Procedure'),
    observations: of('Observation'),
    answers: of('QuestionnaireResponse'),
    authorizations: of('ClaimResponse'),
    active: resourcesOf(request && request.prefetch && request.prefetch.activeOrders),
    organizations: of('Organization'),
  };
}

function ageOf(birth) {
  const born = new Date(textOf(birth));
  if (Number.isNaN(born.getTime())) return '';
  const now = new Date();
  const before = now.getMonth() < born.getMonth() || (now.getMonth() === born.getMonth() && now.getDate() < born.getDate());
  return `${now.getFullYear() - born.getFullYear() - (before ? 1 : 0)} years`;
}

export function banner(chart, patientId) {
  const patient = chart.patient || {};
  const name = listed(patient.name)[0] || {};
  const given = Array.isArray(name.given) ? name.given.map(textOf).join(' ') : '';
  const full = [given, textOf(name.family)].filter(Boolean).join(' ') || textOf(name.text) || 'Name not sent';
  const mrn = listed(patient.identifier).map((i) => textOf(i.value)).filter(Boolean)[0];
  const facts = [ageOf(patient.birthDate), textOf(patient.gender), textOf(patient.birthDate) && `born ${patient.birthDate}`, mrn];
  return [
    el('h2', { id: 'patient-name', 'data-ref': `Patient/${patientId || patient.id || ''}` }, full),
    el('p', null, facts.filter(Boolean).join(' · ') || 'No patient record sent'),
  ];
}

function status(resource) {
  const clinical = concept(resource.clinicalStatus).code;
  const verified = concept(resource.verificationStatus).code;
  return [clinical, verified === 'confirmed' ? '' : verified.replaceAll('-', ' ')].filter(Boolean).join(', ');
}

const row = (resource, code, text, note) => el('li', { 'data-ref': refOf(resource) },
  code ? el('span', { class: 'code' }, code) : null, el('span', null, text || 'No text'),
  note ? el('span', { class: 'note' }, note) : null);

function payer(coverage, chart) {
  const payor = listed(coverage.payor)[0] || {};
  const own = chart.organizations.find((o) => refOf(o) === payor.reference) || {};
  return textOf(payor.display) || textOf(own.name) || textOf((payor.identifier || {}).value) || 'Payer not named';
}

function result(observation) {
  const { valueQuantity: quantity, valueBoolean: flag } = observation;
  if (quantity) return `${quantity.value ?? ''} ${textOf(quantity.unit)}`.trim();
  if (flag !== undefined) return flag ? 'yes' : 'no';
  return concept(observation.valueCodeableConcept).text || concept(observation.valueCodeableConcept).code;
}

const list = (title, rows) => el('section', { class: 'fact' }, el('h2', null, title),
  rows.length ? el('ul', null, rows) : el('p', { class: 'none' }, 'None recorded'));

export function facts(chart) {
  const sections = [
    list('Conditions', chart.conditions.map((c) => row(c, concept(c.code).code, concept(c.code).text, status(c)))),
    list('Coverage', chart.coverage.map((c) => row(c, '', payer(c, chart), textOf(c.status)))),
  ];
  const more = [
    ['Procedures done', chart.procedures, (p) => row(p, concept(p.code).code, concept(p.code).text, textOf(p.performedDateTime))],
    ['Results', chart.observations, (o) => row(o, concept(o.code).code, concept(o.code).text, result(o))],
    ['Active orders', chart.active, (o) => row(o, orderConcept(o).code, orderConcept(o).text, textOf(o.status))],
    ['Authorizations', chart.authorizations, (a) => row(a, '', textOf(a.preAuthRef) || 'No number', textOf(a.outcome))],
    ['Answers', chart.answers, (a) => row(a, '', 'Questionnaire answered', textOf(a.authored))],
  ];
  for (const [title, resources, shown] of more) if (resources.length) sections.push(list(title, resources.map(shown)));
  return sections;
}

const COVERAGE_INFORMATION = 'http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information';

// What a payer has said of an order: { covered, 'pa-needed', 'satisfied-pa-id', ... }, one per coverage.
export function assertions(order) {
  return listed(order.extension).filter((e) => e.url === COVERAGE_INFORMATION).map((e) => Object.fromEntries(
    listed(e.extension).map((part) => {
      const name = Object.keys(part).find((k) => k.startsWith('value'));
      return [part.url, typeof part[name] === 'object' ? '' : String(part[name] ?? '')];
    })));
}
