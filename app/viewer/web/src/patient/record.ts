// The health record as a chart, and the notes with their facts marked; a statement leads to the object that shows it.
import { h, put, replace } from '../dom'
import type { Chart, Group, Page, Statement } from './types'
import { when } from './types'

const FLAGS: Record<string, string> = { H: 'high', HH: 'very high', L: 'low', LL: 'very low', A: 'abnormal', AA: 'very abnormal' }

function shown(page: Page, one: { link: string }): HTMLElement | false {
  if (!one.link) return false
  const label = page.label(one.link)
  return h('button', { type: 'button', className: 'shows', 'aria-label': `Show ${label}`, 'data-to': one.link, onclick: () => page.go(one.link) }, `→ ${label}`)
}

function list<T extends Statement>(page: Page, title: string, all: T[], more: (one: T) => string, open = true, most = 200): HTMLElement | false {
  if (!all.length) return false
  const rows = all.slice(0, most).map((one) => h('li', { 'data-reference': one.reference }, h('strong', {}, one.text), ' ', h('span', { className: 'note' }, more(one)), ' ', shown(page, one)))
  return folded(title, all.length, open, h('ul', { className: 'statements' }, ...rows))
}

function folded(title: string, count: number, open: boolean, ...content: Node[]): HTMLElement {
  return h('details', { className: 'fold', open }, h('summary', {}, `${title} (${count})`), ...content)
}

export function recordOf(place: HTMLElement, page: Page, chart: Chart): void {
  const span = (start: string, end: string) => `${when(start, false)}${end && end.slice(0, 10) !== start.slice(0, 10) ? ` – ${when(end, false)}` : ''}`
  const { patient } = chart
  const about = [patient.gender, patient.born && `born ${when(patient.born)}`, patient.died && `died ${when(patient.died)}`, patient.race, patient.ethnicity].filter(Boolean)
  put(
    place,
    h('p', {}, patient.name, h('span', { className: 'note' }, ` ${about.join(', ')}`)),
    h(
      'div',
      { className: 'chart' },
      h(
        'div',
        {},
        list(page, 'Problems', chart.problems, (p) => [p.code, p.onset && `since ${when(p.onset, false)}`, p.status !== 'active' && p.status, p.end && `until ${when(p.end, false)}`].filter(Boolean).join(', ')),
        list(page, 'Allergies', chart.allergies, (a) => [a.reaction, a.criticality && `criticality ${a.criticality}`].filter(Boolean).join(', ')),
        medications(page, chart),
      ),
      h(
        'div',
        {},
        list(page, 'Reports', chart.reports, (r) => `${when(r.time)}. ${r.conclusion}`),
        list(page, 'Procedures', chart.procedures, (p) => when(p.time), chart.procedures.length < 8),
        list(page, 'Immunizations', chart.immunizations, (i) => when(i.time), false),
        list(page, 'Goals', chart.goals, () => ''),
        list(page, 'Devices', chart.devices, () => ''),
      ),
    ),
    table(page, 'Laboratory', chart.labs),
    table(page, 'Vital signs and measurements at visits', chart.vitals),
    chart.charted > 0 && h('p', { className: 'note' }, `The vitals chart of the index stay, ${chart.charted} readings, is drawn with the vital signs above.`),
    table(page, 'Other observations', chart.others),
    list(page, 'Encounters', [...chart.encounters].reverse(), (e) => [span(e.start, e.end), e.kind, e.place, e.reason].filter(Boolean).join(', '), chart.encounters.length < 8, 500),
    list(page, 'Given into a vein', chart.administrations, (a) => `${a.dose} ${when(a.time)}`.trim(), false),
    list(page, 'Claims', chart.claims, (c) => [when(c.time, false), c.payer].filter(Boolean).join(', '), false, 500),
  )
}

function medications(page: Page, chart: Chart): HTMLElement | false {
  const now = chart.medications.filter((one) => one.status === 'active')
  const past = chart.medications.filter((one) => one.status !== 'active')
  const more = (one: Chart['medications'][number]) => [one.dose.replace(one.text, '').trim(), one.start && `from ${when(one.start, false)}`, one.end && `to ${when(one.end, false)}`, one.status !== 'active' && one.status].filter(Boolean).join(', ')
  const box = h('div', {})
  put(box, list(page, 'Medications', now, more), list(page, 'Earlier medications', past, more, false))
  return chart.medications.length > 0 && box
}

// A row a test: the last value with its flag and reference range, the earlier ones behind a click.
function table(page: Page, title: string, groups: Group[]): HTMLElement | false {
  if (!groups.length) return false
  const rows = groups.map((group) => {
    const last = group.values.at(-1)!
    const flag = FLAGS[last.flag]
    const earlier = group.values.slice(0, -1).reverse()
    return h(
      'tr',
      { 'data-reference': last.reference },
      h('th', { scope: 'row' }, group.text),
      h('td', { className: flag ? 'flagged' : '' }, last.text, flag && h('span', { className: 'flag' }, ` ${flag}`)),
      h('td', {}, group.range && `${group.range}${group.unit && /\d$/.test(group.range) ? ` ${group.unit}` : ''}`),
      h('td', {}, when(last.time), ' ', shown(page, last)),
      h('td', {}, earlier.length > 0 && h('details', {}, h('summary', {}, `${earlier.length} earlier`), h('ul', { className: 'earlier' }, ...earlier.slice(0, 100).map((one) => h('li', { className: FLAGS[one.flag] ? 'flagged' : '' }, `${when(one.time, false)}: ${one.text} ${FLAGS[one.flag] ?? ''}`, ' ', shown(page, one)))))),
    )
  })
  const head = ['', 'last value', 'reference', 'when', 'before'].map((name, n) => (n ? h('th', { scope: 'col' }, name) : h('td', {})))
  const scroll = h('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': title }, h('table', { className: 'tests' }, h('thead', {}, h('tr', {}, ...head)), h('tbody', {}, ...rows)))
  return folded(title, groups.length, true, scroll)
}

interface Piece {
  text: string
  label?: string
  negated?: boolean
  code?: string
  value?: string | number
  unit?: string
  link?: string
}

interface Note {
  kind: string
  date: string
  author: string
  link: string
  parts: Piece[]
}

const GROUPS: Record<string, string> = {
  CONDITION: 'finding', FINDING: 'finding', NORMAL: 'finding', DRUG: 'drug', DOSE: 'drug', FREQUENCY: 'drug', ROUTE: 'drug',
  LAB: 'value', VALUE: 'value', UNIT: 'value', GENE: 'value', PROCEDURE: 'done', VIEW: 'done', ANATOMY: 'done', DATE: 'who', AGE: 'who', SEX: 'who',
}
const NAMES: Record<string, string> = { finding: 'conditions and findings', drug: 'drugs', value: 'measurements', done: 'procedures', who: 'dates and person' }

export async function notesOf(place: HTMLElement, page: Page): Promise<void> {
  const notes = await page.get<Note[]>('/notes')
  const keys = h(
    'fieldset',
    { className: 'facts' },
    h('legend', { className: 'hidden' }, 'Facts to highlight'),
    ...Object.entries(NAMES).map(([group, name]) =>
      h('label', { className: `fact fact-${group}` }, h('input', { type: 'checkbox', checked: true, onchange: (event: Event) => place.classList.toggle(`without-${group}`, !(event.target as HTMLInputElement).checked) }), ` ${name}`),
    ),
  )
  const body = h('div', { className: 'notes' })
  notes.reverse().forEach((note, n) => {
    const title = `${note.kind.replace(/-/g, ' ')}, ${when(note.date, false)}`
    const text = h('div', { className: 'text' })
    replace(text, ...note.parts.map((part) => marked(page, part)))
    body.append(h('details', { className: 'fold', open: n < 3 }, h('summary', {}, title), h('p', { className: 'note' }, `${note.author} `, shown(page, note)), text))
  })
  put(place, keys, body)
}

function marked(page: Page, part: Piece): Node {
  if (!part.label) return document.createTextNode(part.text)
  const said = [part.negated ? 'denied' : '', part.label.toLowerCase(), part.value !== undefined ? `${part.value} ${part.unit ?? ''}`.trim() : '', part.code ?? ''].filter(Boolean).join(', ')
  const props = { className: `fact fact-${GROUPS[part.label] ?? 'done'}${part.negated ? ' denied' : ''}`, title: said, 'data-label': part.label }
  if (!part.link) return h('mark', props, part.text)
  return h('mark', props, h('button', { type: 'button', 'data-to': part.link, title: `${said} → ${page.label(part.link)}`, onclick: () => page.go(part.link!) }, part.text))
}
