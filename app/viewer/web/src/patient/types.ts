// What the server tells of a patient: app/viewer/patient.py and the files it calls.
export interface Field {
  name: string
  label: string
  unit: string
  kind: string
  value: string | number | boolean
}

export interface ImageSeries {
  kind: 'image'
  key: string
  label: string
  modality: string
  instance: string
  study: string
  time: string
  view: string
  rows: number
  columns: number
  frames: number
  sides: string[]
  instances: { n: number; uid: string; at: number }[]
}

export interface Mask {
  kind: 'mask'
  key: string
  label: string
  n: number
  of: string[]
  segments: { number: number; label: string }[]
}

export interface Channel {
  name: string
  unit: string
  label: string
}

export interface Signal {
  kind: 'ecg' | 'series'
  key: string
  n: number
  name: string
  label: string
  rate: number
  samples: number
  seconds: number
  even: boolean // samples are 1 / rate apart; else /times has when each was
  strips?: number // rows of a table of waves, each followed by an empty sample
  events?: boolean // single events, such as meals
  time: string
  channels: Channel[]
  file: string
}

export interface Sample {
  kind: 'omics'
  key: string
  assay: string
  label: string
  store: string
  row: number
  time: string
}

export type PatientObject = ImageSeries | Mask | Signal | Sample

export interface Patient {
  id: string
  place: number
  patients: number
  before: string | null
  after: string | null
  profile: { age: number | null; sex: string | null; height: number | null; weight: number | null; index_date: string | null; born: string | null; fields: Field[] }
  objects: PatientObject[]
  broken: string[] // what could not be read, a line a file
  has: { record: boolean; notes: boolean }
}

export interface Statement {
  reference: string
  link: string
  text: string
}

export interface Group {
  text: string
  code: string
  unit?: string
  low: number | null
  high: number | null
  range: string
  values: (Statement & { time: string; value: number | null; flag: string })[]
}

export interface Chart {
  patient: { name: string; born: string; died: string; gender: string; race?: string; ethnicity?: string }
  problems: (Statement & { code: string; onset: string; end: string; status: string; listed: string })[]
  allergies: (Statement & { criticality: string; reaction: string })[]
  medications: (Statement & { dose: string; status: string; start: string; end: string; reasons: string[] })[]
  administrations: (Statement & { time: string; dose: string })[]
  encounters: (Statement & { kind: string; start: string; end: string; reason: string; place: string })[]
  labs: Group[]
  vitals: Group[]
  others: Group[]
  charted: number
  reports: (Statement & { time: string; conclusion: string })[]
  procedures: (Statement & { time: string })[]
  samples: (Statement & { time: string })[]
  immunizations: (Statement & { time: string })[]
  goals: Statement[]
  devices: Statement[]
  claims: (Statement & { time: string; payer: string })[]
}

export interface Page {
  base: string // /api/patients/ID
  get<T>(path: string): Promise<T>
  go(key: string): void // scroll to an object
  label(key: string): string
  leave: AbortSignal // aborted when the page is left
}

export async function numbers(page: Page, path: string): Promise<Float32Array> {
  return new Float32Array(await bytes(page, path))
}

export async function bytes(page: Page, path: string): Promise<ArrayBuffer> {
  const response = await fetch(`${page.base}${path}`, { signal: page.leave })
  if (!response.ok) throw new Error(((await response.json()) as { error?: string }).error ?? `the server answered ${response.status}`)
  return response.arrayBuffer()
}

// 2024-05-03T11:32:11Z as 3 May 2024 11:32; all clocks of a cohort are UTC
export function when(iso: string, clock = true): string {
  const day = new Date(iso.length === 10 ? `${iso}T00:00:00Z` : iso)
  if (!iso || Number.isNaN(day.getTime())) return iso
  const date = day.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' })
  return clock && iso.length > 10 ? `${date} ${iso.slice(11, 16)}` : date
}

export function unitOf(unit: string): string {
  return { Cel: '°C', 'mm[Hg]': 'mmHg', '[MET]': 'MET', '{steps}': 'steps', '[iU]': 'IU', a: 'years', '1': '' }[unit] ?? unit
}

// a colour of the style sheet, for what is drawn on a canvas
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}

// call back when the colours of the page change, until the page is left
export function onColours(page: Page, redraw: () => void): void {
  const dark = matchMedia('(prefers-color-scheme: dark)')
  dark.addEventListener('change', redraw, { signal: page.leave })
  const watch = new MutationObserver(redraw)
  watch.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
  page.leave.addEventListener('abort', () => watch.disconnect())
}

export function onWidth(page: Page, element: Element, redraw: () => void): void {
  let width = 0
  const watch = new ResizeObserver(([entry]) => {
    if (entry && Math.abs(entry.contentRect.width - width) > 1) {
      width = entry.contentRect.width
      redraw()
    }
  })
  watch.observe(element)
  page.leave.addEventListener('abort', () => watch.disconnect())
}
