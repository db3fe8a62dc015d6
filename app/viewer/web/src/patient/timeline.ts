// The patient's life on one line: visits, studies and samples; each mark leads to what it stands for.
import { h, put } from '../dom'
import type { Chart, Page, Patient } from './types'
import { when } from './types'

interface Mark {
  lane: string
  label: string
  start: number
  end: number
  key: string
}

const LANES = ['Stays', 'Visits', 'Studies', 'Samples', 'Procedures']
const LEAST = 12 // px of a mark, and between marks of one row
const ROWS = 8 // of studies above each other; more are counted
const DAY = 86_400_000
const YEAR = 365.25 * DAY
const APART = 80 // px between dates of the axis, at least

export function timeline(place: HTMLElement, page: Page, patient: Patient, chart: Chart | undefined): void {
  const marks = [...studies(patient), ...(chart ? events(chart) : [])].filter((mark) => Number.isFinite(mark.start))
  if (!marks.length) return
  const first = Math.floor(Math.min(...marks.map((mark) => mark.start)) / DAY) * DAY // whole days
  const last = Math.floor(Math.max(...marks.map((mark) => mark.end)) / DAY + 1) * DAY
  const box = h('div', { className: 'timeline', role: 'region', 'aria-label': 'Timeline of visits, studies and samples', tabIndex: 0 })
  const width = Math.max(place.clientWidth - 110, Math.min((260 * (last - first)) / YEAR, 6000), 240)
  const at = (time: number) => 8 + ((time - first) / (last - first)) * (width - 28)
  for (const lane of LANES) {
    const own = marks.filter((mark) => mark.lane === lane).sort((a, b) => a.start - b.start)
    if (own.length) box.append(row(lane, own, at, width, page))
  }
  box.append(axis(first, last, at, width))
  put(place, h('h2', { className: 'hidden' }, 'Timeline'), box)
  const study = marks.find((mark) => mark.lane === 'Studies') ?? marks.at(-1)!
  box.scrollLeft = at(study.start) - place.clientWidth / 2 // 84 px of names and half a window
}

function studies(patient: Patient): Mark[] {
  const found: Mark[] = []
  for (const one of patient.objects) {
    if (!('time' in one) || !one.time) continue
    const start = Date.parse(one.time)
    const seconds = one.kind === 'ecg' || one.kind === 'series' ? one.seconds : 0
    found.push({ lane: 'Studies', label: one.label, start, end: start + seconds * 1000, key: one.key })
  }
  return found
}

function events(chart: Chart): Mark[] {
  const visits = chart.encounters.map((visit): Mark => {
    const [start, end] = [Date.parse(visit.start), Date.parse(visit.end || visit.start)]
    const label = [visit.text || visit.kind, visit.reason].filter(Boolean).join(': ')
    return { lane: end - start > 20 * 3_600_000 ? 'Stays' : 'Visits', label, start, end, key: 'record' }
  })
  const once = (lane: string, all: { text: string; time: string; link: string }[]) =>
    all.map((one): Mark => ({ lane, label: one.text, start: Date.parse(one.time), end: Date.parse(one.time), key: one.link || 'record' }))
  const tumour = chart.reports.filter((report) => report.link.startsWith('omics'))
  return [...visits, ...once('Samples', chart.samples), ...once('Studies', tumour), ...once('Procedures', chart.procedures)]
}

// One lane, each mark at its time. Studies that would lie on each other stand above each other, so that each can be
// chosen; other marks become one, which says how many it is.
function row(lane: string, marks: Mark[], at: (time: number) => number, width: number, page: Page): HTMLElement {
  const line = h('ul', { className: 'lane-marks' })
  const most = lane === 'Studies' ? ROWS : 1
  const rows: { group: Mark[]; end: number }[][] = []
  for (const mark of marks) {
    const x = at(mark.start)
    const end = lane === 'Stays' ? Math.max(x + LEAST, at(mark.end)) : x + LEAST
    const free = rows.find((own) => own.at(-1)!.end <= x)
    if (free) free.push({ group: [mark], end })
    else if (rows.length < most) rows.push([{ group: [mark], end }])
    else {
      const full = rows.at(-1)!.at(-1)!
      full.group.push(mark)
      if (lane === 'Stays') full.end = Math.max(full.end, end)
    }
  }
  rows.forEach((own, n) => {
    for (const { group, end } of own) line.append(item(group, at(group[0]!.start), lane === 'Stays' ? end - at(group[0]!.start) : 0, n, page))
  })
  line.style.width = `${width}px`
  line.style.height = `${rows.length * 14 + 8}px`
  return h('div', { className: `lane lane-${lane.toLowerCase()}` }, h('span', { className: 'lane-name' }, lane), line)
}

// A bar of that width from x on; of width 0 a dot around x.
function item(group: Mark[], x: number, width: number, n: number, page: Page): HTMLElement {
  const [one] = group as [Mark, ...Mark[]]
  const names = [...new Set(group.map((mark) => mark.label))]
  const label = `${group.length > 1 ? `${group.length} from ` : ''}${when(new Date(one.start).toISOString())}: ${names.slice(0, 6).join('; ')}${names.length > 6 ? ' …' : ''}`
  const button = h('button', { type: 'button', className: 'mark', title: label, 'aria-label': label, onclick: () => page.go(one.key) }, group.length > 1 ? String(group.length) : '')
  button.dataset.key = one.key
  button.dataset.time = String(one.start)
  const place = h('li', {}, button)
  place.style.left = `${width ? x : x - LEAST / 2}px`
  place.style.top = `${3 + 14 * n}px`
  button.style.width = `${width || LEAST}px`
  return place
}

// Dates, as many as there is room for: of years, months or days, and the clock within days.
function axis(first: number, last: number, at: (time: number) => number, width: number): HTMLElement {
  const line = h('div', { className: 'years', 'aria-hidden': 'true' })
  line.style.width = `${width}px`
  const begin = new Date(first)
  const wide = (span: number) => at(first + span) - at(first) >= APART
  const every = (all: number[], span: number) => all.find((count) => wide(count * span))
  const [hours, days, months] = [every([1, 3, 6, 12], DAY / 24), every([1, 2, 7, 14], DAY), every([1, 3, 6], 30.4 * DAY)]
  const years = every([1, 2, 5, 10, 20], YEAR) ?? 50
  const step = (n: number) => {
    if (hours) return first + (n * hours * DAY) / 24
    if (days) return first + n * days * DAY
    if (months) return Date.UTC(begin.getUTCFullYear(), (Math.floor(begin.getUTCMonth() / months) + n) * months)
    return Date.UTC((Math.floor(begin.getUTCFullYear() / years) + n) * years, 0)
  }
  for (let n = 0; n < 400 && step(n) <= last; n++) {
    const time = step(n)
    if (time < first || at(time) > width - 40) continue // no room for its words
    const iso = new Date(time).toISOString()
    const tick = h('span', {}, hours ? (time % DAY ? iso.slice(11, 16) : when(iso.slice(0, 10))) : days ? when(iso.slice(0, 10)) : months ? when(iso.slice(0, 10)).slice(2) : iso.slice(0, 4))
    tick.dataset.time = String(time)
    tick.style.left = `${at(time)}px`
    line.append(tick)
  }
  return h('div', { className: 'lane' }, h('span', { className: 'lane-name' }, ''), line)
}
