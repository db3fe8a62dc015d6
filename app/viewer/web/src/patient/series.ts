// Signals over time, any channels: a chart a unit, an overview to brush a day from, the values as a table.
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { h, put } from '../dom'
import type { Channel, Page, Signal } from './types'
import { bytes, colour, numbers, onColours, onWidth, unitOf, when } from './types'

const TOGETHER = new Set(['mmHg', 'mm[Hg]']) // pressures stand in one chart
const LINES = ['--side0', '--side1', '--good', '--alarm', '--warn', '--soft']
const DAY = 86_400
const MOST_ROWS = 200 // of the table
const POINTS = 400 // up to which samples are marked one by one
const LATE = 2.5 // times the usual distance after which a line is open
const WAVE = 10 // s of a wave that are shown first

interface Drawn {
  channel: Channel
  values: (number | null)[]
}

export async function series(place: HTMLElement, page: Page, signal: Signal): Promise<void> {
  const flat = await numbers(page, `/samples/${signal.n}`)
  const start = signal.time ? Date.parse(signal.time) / 1000 : 0
  const times = signal.even ? Array.from({ length: signal.samples }, (_, n) => start + n / signal.rate) : Array.from(new Float64Array(await bytes(page, `/times/${signal.n}`)))
  const step = signal.strips || signal.events ? 0 : usual(times)
  const channels = signal.channels.map((channel, n): Drawn => {
    const own = flat.subarray(n * signal.samples, (n + 1) * signal.samples)
    return { channel, values: Array.from(own, (value) => (Number.isNaN(value) ? null : Math.round(value * 1e4) / 1e4)) }
  })
  const there = channels.filter(({ values }) => values.some((value) => value !== null))
  const never = channels.filter((one) => !there.includes(one)).map(({ channel }) => name(channel))
  const groups: Drawn[][] = []
  for (const one of there) {
    const same = TOGETHER.has(one.channel.unit) && groups.find((group) => group[0]!.channel.unit === one.channel.unit)
    if (same) same.push(one)
    else groups.push([one])
  }
  const box = h('div', { className: 'charts' })
  put(
    place,
    h('p', { className: 'note' }, [when(signal.time), amount(signal, step), never.length && `never charted: ${never.join(', ')}`].filter(Boolean).join(' · ')),
  )
  if (!groups.length) return put(place, h('p', {}, 'Nothing was charted.'))

  const plots: uPlot[] = []
  const whole: [number, number] = [times[0]!, times.at(-1)!]
  const zoom = ([low, high]: [number, number]) => {
    plots.forEach((plot) => plot.setScale('x', { min: low, max: high }))
    box.dataset.range = `${low},${high}`
  }
  put(place, signal.strips ? pieces(times, signal, zoom) : days(whole, zoom, signal.time !== ''), box)
  const key = uPlot.sync(signal.key)
  const overview = h('div', { className: 'overview' })
  box.append(overview)
  const drawn = broken(times, there, signal, step)
  const brush = plot(overview, drawn, [groups[0]![0]!], 46, undefined, {
    cursor: { drag: { x: true, setScale: false } },
    hooks: { setSelect: [(own) => own.select.width > 4 && zoom([own.posToVal(own.select.left, 'x'), own.posToVal(own.select.left + own.select.width, 'x')])] },
    legend: { show: false },
  }, false)
  for (const group of groups) {
    const own = h('figure', { className: 'series' })
    box.append(own)
    const label = group.map(({ channel }) => name(channel)).join(', ')
    own.append(h('figcaption', {}, `${label}${group[0]!.channel.unit ? ` (${unitOf(group[0]!.channel.unit)})` : ''}`))
    plots.push(plot(own, drawn, group, group.length > 1 ? 190 : 140, key.key, {}, true))
  }
  put(place, table(times, there))
  const all = [brush, ...plots]
  if (signal.strips) place.querySelector<HTMLElement>('.controls button:nth-of-type(2)')?.click() // a wave is seen in its seconds
  onWidth(page, box, () => all.forEach((one) => one.setSize({ width: box.clientWidth, height: one.height })))
  onColours(page, () => all.forEach((one) => one.redraw(false, true)))
  page.leave.addEventListener('abort', () => all.forEach((one) => one.destroy()))
}

function name(channel: Channel): string {
  return channel.label || channel.name.replace(/_/g, ' ')
}

function every(seconds: number): string {
  if (seconds > 1) seconds = Math.round(seconds) // a clock that drifts
  if (seconds >= 3600) return seconds === 3600 ? 'hour' : `${+(seconds / 3600).toFixed(2)} hours`
  return seconds >= 60 ? `${+(seconds / 60).toFixed(2)} min` : seconds === 1 ? 'second' : `${+seconds.toFixed(3)} s`
}

function amount({ samples, seconds, rate, even, strips, events }: Signal, step: number): string {
  if (strips) return `${strips} waves of ${every(samples / strips / rate - 1 / rate)}, ${rate} Hz`
  if (events) return `${samples} ${samples === 1 ? 'entry' : 'entries'}`
  return `${samples} samples, one every ${every(even ? 1 / rate : step || seconds / Math.max(1, samples - 1))}`
}

// The usual distance of times, s: the median.
function usual(times: number[]): number {
  const steps = times.slice(1).map((time, n) => time - times[n]!).sort((a, b) => a - b)
  return steps[steps.length >> 1] ?? 0
}

interface Line {
  times: number[]
  of: Map<Drawn, (number | null | undefined)[]>
  points: boolean // alone, without a line
}

// What is drawn: a line from reading to reading, but open where a channel's next reading is late by its own usual distance.
function broken(times: number[], channels: Drawn[], signal: Signal, step: number): Line {
  const late = times.map((time, n) => n > 0 && step > 0 && time - times[n - 1]! > LATE * step)
  const more = times.flatMap((time, n) => (late[n] ? [(time + times[n - 1]!) / 2, time] : [time]))
  const of = new Map<Drawn, (number | null | undefined)[]>()
  for (const one of channels) {
    const values: (number | null | undefined)[] = one.values.flatMap((value, n) => (late[n] ? [null, value] : [value]))
    const known = values.flatMap((value, n) => (value === null ? [] : [n]))
    const own = usual(known.map((n) => more[n]!))
    if (!signal.strips)
      for (let k = 1; k < known.length; k++) {
        const [a, b] = [known[k - 1]!, known[k]!]
        if (more[b]! - more[a]! <= LATE * own) values.fill(undefined, a + 1, b) // uPlot draws on over undefined, not over null
      }
    of.set(one, values)
  }
  return { times: more, of, points: signal.events ?? false }
}

// Even steps for an axis of values, at least two of them.
function steps(low: number, high: number): number[] {
  const span = high - low || Math.max(1, Math.abs(high) * 0.1)
  const power = 10 ** Math.floor(Math.log10(span / 3))
  const step = power * [1, 2, 5, 10].find((one) => one * power >= span / 3 - 1e-12)!
  const first = Math.floor(low / step)
  const last = Math.max(first + 1, Math.ceil(high / step))
  return Array.from({ length: last - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(10)))
}

function plot(place: HTMLElement, { times, of, points }: Line, group: Drawn[], height: number, key: string | undefined, more: Partial<uPlot.Options>, axes: boolean): uPlot {
  const ink = () => colour('--soft')
  const line = () => colour('--line')
  const grid = { stroke: line, width: 1 }
  let marks = [0, 1] // of the axis of values
  const options: uPlot.Options = {
    width: Math.max(200, place.clientWidth),
    height,
    tzDate: (time) => uPlot.tzDate(new Date(time * 1e3), 'Etc/UTC'),
    cursor: { sync: key ? { key } : undefined, drag: { x: true, y: false } },
    scales: { x: { time: true }, y: { range: (_, low, high) => ends((marks = low === null ? [0, 1] : steps(low, high))) } },
    series: [
      { value: (_: uPlot, time: number) => (time === null || time === undefined ? '–' : new Date(time * 1e3).toISOString().slice(5, 16).replace('T', ' ')) },
      ...group.map(({ channel }, n) => ({
        label: name(channel),
        stroke: () => colour(LINES[n % LINES.length]!),
        width: 1.5,
        spanGaps: false,
        paths: points ? () => null : undefined,
        points: { show: points || times.length <= POINTS ? true : undefined, size: points ? 8 : 5 },
      })),
    ],
    axes: [
      { stroke: ink, grid, ticks: grid, size: 46, values: [[86400, '{D} {MMM}', null, null, null, null, null, null, 1], [3600, '{HH}:{mm}', '\n{D} {MMM}', null, '\n{D} {MMM}', null, null, null, 1], [60, '{HH}:{mm}', '\n{D} {MMM}', null, '\n{D} {MMM}', null, null, null, 1], [1, ':{ss}', '\n{HH}:{mm}', null, null, null, '\n{HH}:{mm}', null, 1]] as unknown as uPlot.Axis.Values, show: axes },
      { stroke: ink, grid, ticks: grid, size: 48, show: axes, splits: () => marks, values: (_, splits) => splits.map((value) => String(value)) },
    ],
    ...more,
  }
  return new uPlot(options, [times, ...group.map((one) => of.get(one)!)], place)
}

function ends(all: number[]): [number, number] {
  return [all[0]!, all.at(-1)!]
}

// Buttons that show one wave, or all of the time.
function pieces(times: number[], { strips = 1, rate }: Signal, zoom: (range: [number, number]) => void): HTMLElement {
  const each = times.length / strips
  const begins = Array.from({ length: Math.min(strips, 60) }, (_, n) => times[n * each]!)
  const spans = begins.map((time): [string, [number, number]] => [when(new Date(time * 1e3).toISOString()), [time, time + Math.min(WAVE, each / rate)]])
  return ranges([['All', [times[0]!, times.at(-1)!]], ...spans], zoom)
}

// Buttons that show a day, or all of them: what a pointer does on the overview, by keyboard.
function days(whole: [number, number], zoom: (range: [number, number]) => void, dated: boolean): HTMLElement {
  const first = Math.floor(whole[0] / DAY) * DAY
  const count = Math.ceil((whole[1] - first + 1) / DAY)
  const all: [string, [number, number]][] = [['All', whole]]
  if (count > 1)
    for (let day = 0; day < Math.min(count, 60); day++) {
      const begin = first + day * DAY
      all.push([dated ? when(new Date(begin * 1e3).toISOString().slice(0, 10)) : `Day ${day + 1}`, [Math.max(begin, whole[0]), Math.min(begin + DAY, whole[1])]])
    }
  else if (whole[1] - whole[0] > 8 * 3600)
    for (let hour = 0; hour < 24; hour += 6) {
      const begin = first + hour * 3600
      if (begin < whole[1]) all.push([`${hour}–${hour + 6} h`, [begin, Math.min(begin + 6 * 3600, whole[1])]])
    }
  return ranges(all, zoom)
}

function ranges(all: [string, [number, number]][], zoom: (range: [number, number]) => void): HTMLElement {
  const bar = h('div', { className: 'inline controls', role: 'group', 'aria-label': 'Range of time' })
  const press = (event: Event, range: [number, number]) => {
    for (const other of bar.querySelectorAll('button')) other.setAttribute('aria-pressed', String(other === event.currentTarget))
    zoom(range)
  }
  all.forEach(([label, range], n) => bar.append(h('button', { type: 'button', className: 'quiet', 'aria-pressed': String(!n), onclick: (event: Event) => press(event, range) }, label)))
  bar.append(h('span', { className: 'note' }, 'Drag over the overview or a chart to zoom; double-click a chart to go back.'))
  return bar
}

function table(times: number[], channels: Drawn[]): HTMLElement {
  const rows = times.slice(0, MOST_ROWS).map((time, n) => h('tr', {}, h('th', { scope: 'row' }, when(new Date(time * 1e3).toISOString())), ...channels.map(({ values }) => h('td', {}, values[n] ?? '–'))))
  const head = h('tr', {}, h('th', { scope: 'col' }, 'time'), ...channels.map(({ channel }) => h('th', { scope: 'col' }, `${name(channel)}${channel.unit ? ` ${unitOf(channel.unit)}` : ''}`)))
  return h(
    'details',
    { className: 'fold' },
    h('summary', {}, times.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${times.length} values as a table` : 'Values as a table'),
    h('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Values' }, h('table', { className: 'tests values-table' }, h('thead', {}, head), h('tbody', {}, ...rows))),
  )
}
