// A 12-lead ECG on its paper: 3 x 4 leads and a rhythm strip, beat marks, measured intervals, calipers.
import { h, put, say } from '../dom'
import { Calipers } from './calipers'
import { draw, format, type Paper, size } from './paper'
import type { Page, Signal } from './types'
import { numbers, onColours, onWidth, when } from './types'

export interface Head extends Signal {
  leads: string[]
  beats: [number, string][]
  waves: [number, string][]
  rhythms: [number, string][]
  quality: [number, string][]
  intervals: Record<string, number | null> & { counted: Record<string, number> }
}

const SECONDS = 10 // on one sheet
const KINDS: Record<string, string> = { N: 'sinus or conducted', V: 'ventricular ectopic', A: 'atrial ectopic', L: 'left bundle branch block', R: 'right bundle branch block', '/': 'paced' }

export async function ecg(place: HTMLElement, page: Page, signal: Signal): Promise<void> {
  const head = await page.get<Head>(`/ecg/${signal.n}`)
  const base = h('canvas', { className: 'paper' })
  const over = h('canvas', {
    className: 'calipers',
    tabIndex: 0,
    role: 'application',
    'aria-label': `${head.label}. Calipers: drag from one point to another. With the keyboard: n measures the next RR interval, arrow keys move the second point, with Shift the first; Escape removes them.`,
  })
  const sheet = h('div', { className: 'sheet' }, base, over)
  const readout = h('output', { className: 'readout' }, 'Drag over the paper to measure.')
  const paper: Paper = { head, values: [], from: 0, seconds: SECONDS, speed: 25, gain: 10, beats: true, waves: false, mm: 4, layout: format(head.leads) }
  const calipers = new Calipers(over, paper, (text) => (readout.textContent = text))

  const redraw = () => {
    paper.mm = Math.max(3.1, (place.clientWidth - 2) / size({ ...paper, speed: 25 }).width)
    draw(base, paper)
    calipers.draw()
  }
  const turn = async (from: number) => {
    const start = Math.max(0, Math.min(from, head.samples / head.rate - 1))
    const flat = await numbers(page, `/samples/${signal.n}?start=${start.toFixed(3)}&seconds=${SECONDS}`)
    const length = flat.length / head.leads.length
    paper.from = start
    paper.values = head.leads.map((_, n) => flat.subarray(n * length, (n + 1) * length))
    calipers.clear()
    redraw()
  }
  const choose = (name: string, label: string, values: number[], unit: string, set: (value: number) => void) =>
    h(
      'label',
      {},
      `${label} `,
      h('select', { name, onchange: (event: Event) => (set(Number((event.target as HTMLSelectElement).value)), redraw()) }, ...values.map((v) => h('option', { value: String(v), selected: v === (name === 'gain' ? 10 : 25) }, `${v} ${unit}`))),
    )
  const check = (label: string, checked: boolean, set: (on: boolean) => void) => h('label', {}, h('input', { type: 'checkbox', checked, onchange: (event: Event) => (set((event.target as HTMLInputElement).checked), redraw()) }), ` ${label}`)
  const long = head.samples / head.rate > SECONDS + 1
  const move = (label: string, by: number) => h('button', { type: 'button', className: 'quiet', onclick: () => void turn(paper.from + by).then(() => say(`from second ${paper.from.toFixed(0)}`)) }, label)
  put(
    place,
    h('p', { className: 'note' }, [when(head.time), `${head.rate} Hz`, `${(head.samples / head.rate).toFixed(0)} s`, rhythms(head)].filter(Boolean).join(' · ')),
    intervals(head),
    h(
      'div',
      { className: 'inline controls' },
      choose('gain', 'Gain', [5, 10, 20], 'mm/mV', (v) => (paper.gain = v)),
      choose('speed', 'Speed', [25, 50], 'mm/s', (v) => (paper.speed = v)),
      check('beats', true, (on) => (paper.beats = on)),
      check('waves', false, (on) => (paper.waves = on)),
      check('calipers hold on to beats', true, (on) => (calipers.holding = on)),
      long && move('‹ 10 s', -SECONDS),
      long && move('10 s ›', SECONDS),
    ),
    h('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': `Paper of the ${head.label}` }, sheet),
    readout,
    quality(head),
  )
  await turn(0)
  onWidth(page, place, redraw)
  onColours(page, redraw)
}

function rhythms(head: Head): string {
  const ectopic = new Map<string, number>()
  for (const [, kind] of head.beats) ectopic.set(kind, (ectopic.get(kind) ?? 0) + 1)
  const beats = [...ectopic].map(([kind, count]) => `${count} ${KINDS[kind] ?? kind}`).join(', ')
  const said = head.rhythms.map(([at, name]) => (head.rhythms.length > 1 ? `${name} from ${(at / head.rate).toFixed(0)} s` : name)).join(', ')
  return [said, beats && `beats: ${beats}`].filter(Boolean).join(' · ')
}

// What is measured on the marks, with the usual normal range of adults.
function intervals({ intervals: found, beats }: Head): HTMLElement {
  const rows: [string, number | null | undefined, string, string, number, number][] = [
    ['Rate', found.rate, '/min', '60–100', 60, 100],
    ['RR', found.rr, 'ms', '', 0, Infinity],
    ['PR', found.pr, 'ms', '120–200', 120, 200],
    ['QRS', found.qrs, 'ms', 'below 120', 0, 120],
    ['QT', found.qt, 'ms', '', 0, Infinity],
    ['QTc Bazett', found.qtc_bazett, 'ms', 'up to 460', 0, 460],
    ['QTc Fridericia', found.qtc_fridericia, 'ms', 'up to 460', 0, 460],
    ['QRS axis', found.axis, '°', '−30 to 90', -30, 90],
  ]
  const shown = rows.map(([name, value, unit, normal, low, high]) => {
    const known = value !== null && value !== undefined
    const out = known && (value < low || value > high)
    return h('div', { className: out ? 'flagged' : '' }, h('dt', {}, name), h('dd', {}, known ? `${Math.round(value)} ${unit}` : '–', normal && h('span', { className: 'normal' }, `${normal}`)))
  })
  return h('dl', { className: 'figures intervals', title: `Medians over ${beats.length} beats, from the marks in the files` }, ...shown)
}

function quality(head: Head): HTMLElement | false {
  if (!head.quality.length) return false
  return h('ul', { className: 'note' }, ...head.quality.map(([at, text]) => h('li', {}, `${(at / head.rate).toFixed(1)} s: ${text}`)))
}
