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
const LEAST = 11 // px of a mark, and between marks of one row
const YEAR = 365.25 * 86_400_000

export function timeline(place: HTMLElement, page: Page, patient: Patient, chart: Chart | undefined): void {
  const marks = [...studies(patient), ...(chart ? events(chart) : [])].filter((mark) => Number.isFinite(mark.start))
  if (!marks.length) return
  const first = Math.min(...marks.map((mark) => mark.start))
  const last = Math.max(...marks.map((mark) => mark.end))
  const years = Math.max(0.1, (last - first) / YEAR)
  const box = h('div', { className: 'timeline', role: 'region', 'aria-label': 'Timeline of visits, studies and samples', tabIndex: 0 })
  const width = Math.max(place.clientWidth - 110, Math.min(260 * years, 6000), 240)
  const at = (time: number) => 8 + ((time - first) / Math.max(1, last - first)) * (width - 28)
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

// One lane; marks that would lie on each other become one, which says how many it is.
function row(lane: string, marks: Mark[], at: (time: number) => number, width: number, page: Page): HTMLElement {
  const line = h('ul', { className: 'lane-marks' })
  line.style.width = `${width}px`
  const groups: Mark[][] = []
  let end = -Infinity
  for (const mark of marks) {
    const x = at(mark.start)
    if (groups.length && x < end + 2) groups.at(-1)!.push(mark)
    else groups.push([mark])
    end = lane === 'Studies' ? x + LEAST : Math.max(end, x + LEAST, at(mark.end))
  }
  const titled = lane === 'Studies'
  for (const group of groups) {
    const [one] = group as [Mark, ...Mark[]]
    if (titled && group.length > 1) {
      // studies of one day stand beside each other, so that each can be chosen
      group.forEach((mark, n) => line.append(item([mark], at(one.start) - (group.length - 1 - n) * (LEAST + 3), LEAST, page)))
      continue
    }
    line.append(item(group, at(one.start), Math.max(LEAST, Math.max(...group.map((mark) => at(mark.end))) - at(one.start)), page))
  }
  return h('div', { className: `lane lane-${lane.toLowerCase()}` }, h('span', { className: 'lane-name' }, lane), line)
}

function item(group: Mark[], x: number, width: number, page: Page): HTMLElement {
  const [one] = group as [Mark, ...Mark[]]
  const names = [...new Set(group.map((mark) => mark.label))]
  const label = `${when(new Date(one.start).toISOString())}: ${names.slice(0, 6).join('; ')}${names.length > 6 ? ' …' : ''}${group.length > 1 ? ` (${group.length})` : ''}`
  const button = h('button', { type: 'button', className: 'mark', title: label, 'aria-label': label, onclick: () => page.go(one.key) })
  button.dataset.key = one.key
  const place = h('li', {}, button)
  place.style.left = `${Math.max(0, x)}px`
  button.style.width = `${width}px`
  return place
}

function axis(first: number, last: number, at: (time: number) => number, width: number): HTMLElement {
  const line = h('div', { className: 'years', 'aria-hidden': 'true' })
  line.style.width = `${width}px`
  const months = last - first < 1.5 * YEAR
  const begin = new Date(first)
  for (let n = 0; n < 400; n++) {
    const time = months ? Date.UTC(begin.getUTCFullYear(), begin.getUTCMonth() + 1 + n) : Date.UTC(begin.getUTCFullYear() + 1 + n, 0)
    if (time > last) break
    const tick = h('span', {}, months ? when(new Date(time).toISOString().slice(0, 10)).slice(2) : String(new Date(time).getUTCFullYear()))
    tick.style.left = `${at(time)}px`
    line.append(tick)
  }
  return h('div', { className: 'lane' }, h('span', { className: 'lane-name' }, ''), line)
}
