// The patient page: who the patient is, one timeline, and every object below it.
import './patient.css'
import type { Api } from '../api'
import { h, put, replace } from '../dom'
import { notesOf, recordOf } from './record'
import { linksOf } from './links'
import { timeline } from './timeline'
import type { Chart, ImageSeries, Mask, Page, Patient, Sample, Signal } from './types'
import { when } from './types'

const SEX: Record<string, string> = { F: 'female', M: 'male' }

export async function mount(element: HTMLElement, { id, api }: { id: string; api: Api }): Promise<() => void> {
  const left = new AbortController()
  const base = `/api/patients/${encodeURIComponent(id)}`
  const early = import('./xray') // the largest part of the page: it comes while the server answers
  early.catch(() => undefined)
  const patient = await api.get<Patient>(base)
  if (patient.objects.some((one) => one.kind === 'image')) void early.then((xray) => xray.prepare()).catch(() => undefined)
  const labels = new Map(patient.objects.map((object) => [object.key, object.label]))
  const page: Page = {
    base,
    get: <T>(path: string) => api.get<T>(`${base}${path}`),
    go: (key) => go(element, key),
    label: (key) => labels.get(key) ?? key,
    leave: left.signal,
  }
  const strip = h('div', { className: 'timeline-place' })
  put(element, head(patient), who(patient), ...patient.broken.map((line) => h('p', { className: 'failed', role: 'alert' }, line)), strip)
  const record = patient.has.record ? page.get<Chart>('/record') : undefined
  record?.catch(() => undefined) // told where the record stands
  const nav = h('nav', { className: 'jump', 'aria-label': 'Parts of this page' })
  element.append(nav)
  sections(element, nav, page, patient, record)
  timeline(strip, page, patient, undefined)
  record?.then((chart) => {
    if (left.signal.aborted) return
    replace(strip)
    timeline(strip, page, patient, chart)
    if (chart.patient.name) put(element.querySelector('h1')!, h('span', { className: 'name' }, ` ${chart.patient.name}`))
  }, () => undefined)
  return () => left.abort()
}

function head(patient: Patient): HTMLElement {
  const to = (id: string | null, label: string, arrow: string) =>
    id ? h('a', { href: `#/patient/${encodeURIComponent(id)}`, 'aria-label': `${label}: ${id}`, title: `${label}: ${id}` }, arrow) : h('span', { className: 'off', 'aria-hidden': 'true' }, arrow)
  return h(
    'div',
    { className: 'patient-head' },
    h('h1', {}, patient.id),
    h('p', { className: 'turn' }, to(patient.before, 'Previous patient', '‹'), h('span', {}, `${patient.place + 1} of ${patient.patients}`), to(patient.after, 'Next patient', '›')),
  )
}

function who({ profile, objects }: Patient): HTMLElement {
  const has = profile.fields.filter((field) => field.value === true)
  const measured = profile.fields.filter((field) => typeof field.value !== 'boolean')
  const facts: [string, string][] = [
    ['age', profile.age === null ? '' : `${profile.age.toFixed(1)} years`],
    ['sex', SEX[profile.sex ?? ''] ?? profile.sex ?? ''],
    ['height', profile.height === null ? '' : `${profile.height} cm`],
    ['weight', profile.weight === null ? '' : `${profile.weight} kg`],
    ['index visit', profile.index_date ? when(profile.index_date) : ''],
    ['objects', String(objects.length)],
  ]
  return h(
    'div',
    { className: 'who' },
    h('dl', { className: 'figures' }, ...facts.filter(([, value]) => value).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value)))),
    has.length > 0 && h('ul', { className: 'chips', 'aria-label': 'Conditions of the profile' }, ...has.map((field) => h('li', { title: field.name }, field.label))),
    measured.length > 0 &&
      h(
        'details',
        { className: 'measured' },
        h('summary', {}, `Profile: ${measured.length} further values`),
        h('dl', { className: 'figures' }, ...measured.map((f) => h('div', {}, h('dt', {}, f.label), h('dd', {}, `${f.value} ${f.unit}`.trim())))),
      ),
  )
}

type Draw = (place: HTMLElement) => Promise<void>

function sections(element: HTMLElement, nav: HTMLElement, page: Page, patient: Patient, record?: Promise<Chart>): void {
  const of = <T>(kind: string) => patient.objects.filter((object) => object.kind === kind) as T[]
  const [series, masks] = [of<ImageSeries>('image'), of<Mask>('mask')]
  const add = (id: string, title: string, keys: string[], draw: Draw) => {
    const body = h('div', { className: 'body' }, h('p', { className: 'note' }, id === 'links' ? 'Reading the files of all kinds …' : 'Loading …'))
    const section = h('section', { className: `part part-${id}`, 'aria-labelledby': `part-${id}` }, h('h2', { id: `part-${id}`, tabIndex: -1 }, title), body)
    section.dataset.keys = [id, ...keys].join(' ')
    element.append(section)
    nav.append(h('button', { type: 'button', className: 'quiet', onclick: () => page.go(id) }, title))
    void whenNear(section, page).then(async () => {
      try {
        await draw(body)
        body.querySelector(':scope > .note')?.remove()
      } catch (error) {
        if (!page.leave.aborted) replace(body, h('p', { className: 'failed', role: 'alert' }, (error as Error).message))
      }
      section.dataset.drawn = 'true'
    })
  }
  if (series.length || masks.length)
    add('images', series.length > 1 ? `Images (${series.length} series)` : 'Image', [...series, ...masks].map((one) => one.key), async (place) => (await import('./xray')).images(place, page, series, masks))
  for (const ecg of of<Signal>('ecg')) add(ecg.key, ecg.label, [], async (place) => (await import('./ecg')).ecg(place, page, ecg))
  for (const one of of<Signal>('series')) add(one.key, one.label, [], async (place) => (await import('./series')).series(place, page, one))
  const samples = of<Sample>('omics')
  if (samples.length) add('omics', samples.length > 1 ? `Tumour (${samples.length} assays)` : samples[0]!.label, samples.map((one) => one.key), async (place) => (await import('./omics')).omics(place, page, samples))
  if (record) add('record', 'Health record', [], async (place) => recordOf(place, page, await record))
  if (patient.has.notes) add('notes', 'Notes', [], (place) => notesOf(place, page))
  add('links', 'What links these', [], (place) => linksOf(place, page))
}

// Draw what is near the window first; what is far away waits until it comes near.
function whenNear(section: HTMLElement, page: Page): Promise<void> {
  return new Promise((resolve) => {
    const watch = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return
        watch.disconnect()
        resolve()
      },
      { rootMargin: '600px' },
    )
    watch.observe(section)
    page.leave.addEventListener('abort', () => watch.disconnect())
  })
}

function go(element: HTMLElement, key: string): void {
  const section = [...element.querySelectorAll<HTMLElement>('[data-keys]')].find((one) => one.dataset.keys!.split(' ').includes(key))
  if (!section) return
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches
  section.scrollIntoView({ behavior: calm ? 'auto' : 'smooth', block: 'start' })
  section.querySelector<HTMLElement>('h2')?.focus({ preventScroll: true })
  section.dispatchEvent(new CustomEvent('chosen', { detail: key }))
}
