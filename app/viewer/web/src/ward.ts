// The live ward: a card a bed with its moving ECG, numbers, alarms, and what may befall it.
import { api } from './api'
import { h, replace, say } from './dom'
import { Alarm, LIMITS, SILENT } from './limits'
import { unitOf } from './patient/types'
import { Trace } from './trace'
import type { Unmount } from './router'

interface State {
  state: 'off' | 'starting' | 'live' | 'ended'
  message: string
  events: string[]
  sources: string[]
  cohort: boolean
  most_beds: number
}
interface Message {
  signal: 'meta' | 'status' | 'vitals' | 'ecg' | 'event'
  bed?: string
  patient?: string
  t: number
  rate?: number
  values?: Record<string, number>
  leads?: Record<string, number[] | null>
  age?: number
  sex?: string
  signals?: { ecg?: unknown; vitals?: { channels: Record<string, { unit: string; label: string }> } }
  events?: { what: string; at: number; lasts?: number }[]
  error?: string
}

const EVENTS: Record<string, string> = { sepsis: 'Sepsis', atrial_fibrillation: 'Atrial fibrillation', lead_off: 'Electrode off', dropout: 'Network drops out', recovery: 'Recovery' }
const ORDER = ['HR', 'O2Sat', 'SBP', 'MAP', 'DBP', 'Resp', 'Temp']
const NAMES: Record<string, string> = { O2Sat: 'SpO₂', oxygen_saturation: 'SpO₂', skin_temperature: 'Skin temp.', sleep_stage: 'Sleep', respiration: 'Resp', rmssd: 'HRV', glucose: 'Glucose', systolic: 'SBP', diastolic: 'DBP' }
const SHORT = 14 // letters of a name on a card

// What stands over a number: a short name, else the label up to what explains it.
function named(channel: string, label = ''): string {
  const own = channel.slice(channel.indexOf('/') + 1)
  const said = label.split(':')[0]!
  return NAMES[own] ?? (own === own.toUpperCase() || ORDER.includes(own) || !said || said.length > SHORT ? own.replace(/_/g, ' ') : said)
}

// Words for the numbers of a label such as `Sleep stage: 0 awake, 1 light`.
function meanings(label: string): Map<number, string> {
  const said = label.includes(':') ? label.slice(label.indexOf(':') + 1) : ''
  return new Map([...said.matchAll(/(-?\d+) ([^,]+)/g)].map(([, value, word]) => [Number(value), word!.trim()]))
}

export async function mount(element: HTMLElement): Promise<Unmount> {
  let state = await api.get<State>('/api/ward/')
  let source: EventSource | undefined
  let frame = 0
  let ticking = 0
  const beds = new Map<string, Bed>()
  const grid = h('div', { className: 'beds' })
  const bar = h('div', { className: 'wardbar' })
  const error = h('p', { className: 'failed', role: 'alert' })

  const from = h('select', { id: 'source' }, ...(state.cohort ? [h('option', { value: '' }, 'this cohort')] : []), ...state.sources.map((name) => h('option', { value: name }, `drawn now: ${name}`)))
  const number = h('input', { id: 'beds', type: 'number', min: '1', max: String(state.most_beds), value: '4' })

  function controls(): void {
    const live = state.state === 'live' || state.state === 'starting'
    const start = h('form', { className: 'inline', onsubmit: (event: Event) => { event.preventDefault(); void act('start', { source: from.value, beds: Number(number.value), seed: 0 }) } }, h('label', { htmlFor: 'source' }, 'Patients'), from, h('label', { htmlFor: 'beds' }, 'Beds'), number, h('button', { type: 'submit', id: 'start' }, 'Start a ward'))
    const stop = h('button', { type: 'button', id: 'stop', className: 'quiet', onclick: () => void act('stop') }, 'Stop the ward')
    const may = state.events.length > 0
    replace(bar, may ? (live ? stop : start) : null, h('p', { className: 'note', id: 'wardstate' }, words(state)))
  }

  async function act(what: string, body: unknown = {}): Promise<void> {
    error.textContent = ''
    try {
      state = await api.post<State>(`/api/ward/${what}`, body)
      follow(what === 'start')
    } catch (problem) {
      error.textContent = (problem as Error).message
    }
    controls()
  }

  function follow(anew: boolean): void {
    const live = state.state === 'live' || state.state === 'starting'
    if (anew || !live) {
      source?.close()
      source = undefined
      beds.clear()
      grid.replaceChildren()
    }
    if (!live || source) return
    source = new EventSource('/api/ward/stream')
    source.onmessage = (event) => take(JSON.parse(event.data as string) as Message)
    source.onerror = () => void look()
  }

  async function look(): Promise<void> {
    try {
      state = await api.get<State>('/api/ward/')
    } catch (problem) {
      error.textContent = (problem as Error).message
      return
    }
    if (state.state === 'off' || state.state === 'ended') {
      source?.close()
      source = undefined
      for (const bed of beds.values()) bed.silent()
    }
    controls()
  }

  function take(message: Message): void {
    if (message.signal === 'status') return
    if (state.state !== 'live') {
      state = { ...state, state: 'live' }
      controls()
    }
    const name = message.bed ?? ''
    let bed = beds.get(name)
    if (!bed) {
      bed = new Bed(name, state.events, (what) => void act('event', { bed: name, what }))
      beds.set(name, bed)
      grid.append(bed.element)
    }
    bed.take(message)
  }

  function draw(): void {
    for (const bed of beds.values()) bed.draw()
    frame = requestAnimationFrame(draw)
  }

  replace(element, h('h1', {}, 'Live ward'), bar, error, grid, h('p', { className: 'note' }, 'Synthetic patients; the limits of the alarms are rules of this page, for adults at rest. What a button does is rule-based.'))
  controls()
  follow(false)
  draw()
  ticking = window.setInterval(() => beds.forEach((bed) => bed.tick()), 1000)
  return () => {
    source?.close()
    cancelAnimationFrame(frame)
    clearInterval(ticking)
  }
}

function words(state: State): string {
  if (state.state === 'starting') return 'The models are loading; the first second comes soon.'
  if (state.state === 'ended') return state.message ? `The ward has ended: ${state.message}` : 'The ward has ended.'
  if (state.state === 'off') return 'No ward is running.'
  return ''
}

class Bed {
  readonly element: HTMLElement
  private readonly who = h('p', { className: 'who' })
  private readonly numbers = h('dl', { className: 'numbers' })
  private readonly alarms = h('p', { className: 'alarms', role: 'status' })
  private readonly happening = h('p', { className: 'note happening' })
  private readonly canvas = h('canvas', { role: 'img' })
  private readonly leadName = h('span', {})
  private readonly screen = h('div', { className: 'screen-box' }, this.canvas, h('p', { className: 'lead' }, this.leadName, h('span', { className: 'millivolt' }, '1 mV')))
  private readonly trace = new Trace(this.canvas)
  private readonly values = new Map<string, { box: HTMLElement; value: HTMLElement; name: string; words: Map<number, string>; alarm?: Alarm }>()
  private readonly on = new Set<string>()
  private events: NonNullable<Message['events']> = []
  private heard = performance.now()
  private lead = 'II'

  constructor(readonly name: string, events: string[], befall: (what: string) => void) {
    this.canvas.setAttribute('aria-label', `ECG of ${name}`)
    const buttons = events.map((what) => h('button', { type: 'button', className: 'quiet', 'data-event': what, 'aria-label': `${EVENTS[what] ?? what}, ${name}`, onclick: () => befall(what) }, EVENTS[what] ?? what))
    this.element = h('section', { className: 'bed', 'aria-label': name, 'data-bed': name }, h('h2', {}, name), this.who, this.alarms, this.screen, this.numbers, this.happening, buttons.length ? h('div', { className: 'buttons' }, ...buttons) : null)
  }

  take(message: Message): void {
    if (message.signal === 'ecg' || message.signal === 'vitals') this.heard = performance.now()
    if (message.signal === 'meta') this.meta(message)
    else if (message.signal === 'vitals') this.vitals(message)
    else if (message.signal === 'event') this.event(message)
    else if (message.signal === 'ecg' && message.leads) {
      const names = Object.keys(message.leads)
      this.lead = names.includes('II') ? 'II' : (names[0] ?? '')
      this.leadName.textContent = this.lead
      const samples = message.leads[this.lead] ?? null
      this.set('electrode off', samples === null)
      this.trace.add(message.t, message.rate ?? 250, samples)
      this.element.dataset.second = String(message.t)
    }
  }

  private meta(message: Message): void {
    const sex = { F: 'woman', M: 'man' }[message.sex ?? ''] ?? 'patient'
    const age = message.age === undefined ? '' : ` of ${Math.floor(message.age)}`
    const id = message.patient ?? ''
    replace(this.who, `${sex}${age}, ${id}`)
    const channels = message.signals?.vitals?.channels ?? {}
    this.screen.hidden = message.signals !== undefined && !('ecg' in message.signals)
    const names = [...ORDER.filter((name) => name in channels), ...Object.keys(channels).filter((name) => !ORDER.includes(name))]
    this.numbers.replaceChildren()
    for (const name of names) {
      const value = h('dd', {}, '–')
      const { label, unit } = channels[name]!
      const [short, written] = [named(name, label), unitOf(unit)]
      const box = h('div', { 'data-channel': name }, h('dt', { title: label }, short, h('span', { className: 'unit' }, written.toLowerCase() === short.toLowerCase() ? '' : written)), value)
      this.values.set(name, { box, value, name: short, words: meanings(label ?? ''), alarm: LIMITS[name] ? new Alarm(LIMITS[name]!) : undefined })
      this.numbers.append(box)
    }
  }

  private vitals(message: Message): void {
    this.happens(message.t)
    for (const [name, value] of Object.entries(message.values ?? {})) {
      const own = this.values.get(name)
      if (!own) continue
      own.value.textContent = own.words.get(value) ?? String(value)
      own.value.classList.toggle('word', own.words.has(value))
      if (own.alarm) {
        const on = own.alarm.take(value, message.t)
        own.box.classList.toggle('alarm', on)
        const limit = LIMITS[name]!
        this.set(`${own.name} ${value > limit.high ? 'high' : value < limit.low ? 'low' : 'back'}`, on, own.name)
      }
    }
  }

  private event(message: Message): void {
    this.events = message.events ?? []
    this.happening.textContent = message.error ?? ''
    if (!message.error) this.happens(0)
  }

  // What befalls the bed at a second; events that have ended go.
  private happens(second: number): void {
    if (!this.events.length && second) return
    this.events = this.events.filter((one) => one.lasts === undefined || one.at + one.lasts > second)
    const names = this.events.map((one) => (EVENTS[one.what] ?? one.what).toLowerCase())
    this.happening.textContent = names.length ? `By rule: ${names.join(', ')}` : ''
  }

  private set(text: string, on: boolean, stem = text): void {
    const before = [...this.on].find((one) => one === stem || one.startsWith(`${stem} `))
    if (on === (before !== undefined) && (!on || before === text)) return
    if (before) this.on.delete(before)
    if (on) this.on.add(text)
    this.alarms.textContent = [...this.on].join(' · ')
    this.element.classList.toggle('alarming', this.on.size > 0)
    if (on && before === undefined) say(`${this.name}: ${text}`)
  }

  tick(): void {
    this.set('no signal', performance.now() - this.heard > SILENT * 1000)
  }

  silent(): void {
    this.heard = -Infinity
    this.tick()
  }

  draw(): void {
    this.trace.colour = getComputedStyle(this.element).getPropertyValue('--trace')
    this.trace.draw()
  }
}
