// Draw a cohort: a form, and the jobs with their progress.
import { api } from './api'
import { h, replace, say } from './dom'
import { thousands } from './fields'
import type { Unmount } from './router'

interface Job {
  number: number
  name: string
  state: 'running' | 'done' | 'cancelled' | 'failed'
  done: number
  total: number | null
  message: string
  command: string
}
interface Listed {
  jobs: Job[]
  cohorts: string[]
  home: string
}

const EVERY = 700 // ms between two looks at a job that runs

export async function mount(element: HTMLElement): Promise<Unmount> {
  let listed = await api.get<Listed>('/api/jobs/')
  let timer = 0
  let left = false
  const error = h('p', { className: 'failed', role: 'alert' })
  const jobs = h('div', { className: 'jobs' })
  const cohort = h('select', { id: 'cohort' }, ...listed.cohorts.map((name) => h('option', { value: name, selected: name === 'cardio_oncology' }, name)))
  const patients = h('input', { id: 'patients', type: 'number', min: '1', max: '100000', value: '16' })
  const fields = h('input', { id: 'fields', type: 'text', placeholder: 'pam50: 20 LumA, 20 Basal', 'aria-describedby': 'about-fields' })
  const seed = h('input', { id: 'seed', type: 'number', value: '0' })
  const name = h('input', { id: 'name', type: 'text', required: true, value: free('cohort-1'), autocomplete: 'off' })
  const begin = h('button', { type: 'submit', id: 'begin' }, 'Draw')
  const form = h(
    'form', { className: 'card', onsubmit: (event: Event) => { event.preventDefault(); void submit() } },
    row('Cohort', cohort), row('Patients', patients),
    row('or so many of each class of a field', fields, h('span', { id: 'about-fields', className: 'note' }, 'A field, then a number of each class. It takes the place of the number of patients.')),
    row('Seed', seed), row('Name of the folder', name, h('span', { className: 'note' }, `A new folder in ${listed.home}.`)),
    begin, error,
  )

  function free(first: string): string {
    const taken = new Set(listed.jobs.map((job) => job.name))
    let number = 1
    while (taken.has(`cohort-${number}`)) number += 1
    return number > 1 ? `cohort-${number}` : first
  }

  async function submit(): Promise<void> {
    const own = fields.value.trim()
    await act('/api/jobs/', { name: name.value.trim(), cohort: cohort.value, seed: Number(seed.value || 0), ...(own ? { fields: own } : { patients: Number(patients.value) }) })
    if (!error.textContent) name.value = free(name.value)
  }

  async function act(path: string, body: unknown = {}): Promise<void> {
    error.textContent = ''
    begin.disabled = true
    try {
      await api.post(path, body)
    } catch (problem) {
      error.textContent = (problem as Error).message
    }
    await look()
  }

  async function look(): Promise<void> {
    clearTimeout(timer)
    try {
      listed = await api.get<Listed>('/api/jobs/')
    } catch (problem) {
      error.textContent = (problem as Error).message
      return
    }
    if (left) return
    show()
    const running = listed.jobs.some((job) => job.state === 'running')
    begin.disabled = running
    if (running) timer = window.setTimeout(() => void look(), EVERY)
  }

  const cards = new Map<number, { state: string; bar: HTMLProgressElement; text: HTMLElement }>()

  function show(): void {
    for (const job of listed.jobs) {
      const there = cards.get(job.number)
      if (there?.state === job.state) progress(job, there)
      else draw(job)
    }
  }

  function progress(job: Job, card: { bar: HTMLProgressElement; text: HTMLElement }): void {
    if (job.total) card.bar.max = job.total
    if (job.total && job.done) card.bar.value = job.done
    else if (job.state === 'running') card.bar.removeAttribute('value')
    card.text.textContent = words(job)
  }

  function draw(job: Job): void {
    const before = document.getElementById(`job-${job.number}`)
    const bar = h('progress', { 'aria-label': `Progress of ${job.name}` })
    const text = h('p', { className: 'progress' })
    const button = (label: string, what: string) => h('button', { type: 'button', className: 'quiet', onclick: () => void act(`/api/jobs/${job.number}/${what}`) }, label)
    const card = h(
      'section', { className: 'card job', id: `job-${job.number}`, 'data-state': job.state, 'aria-label': `Job ${job.name}` },
      h('h2', {}, job.name), job.state === 'running' ? bar : null, text,
      h('div', { className: 'buttons' }, job.state === 'running' ? button('Cancel', 'cancel') : null, job.state === 'cancelled' || job.state === 'failed' ? button('Go on', 'resume') : null, job.state === 'done' ? h('a', { href: `#/compare/${job.number}` }, 'Compare it with the cohort in view') : null),
      h('details', {}, h('summary', {}, 'The command'), h('pre', {}, job.command)),
    )
    if (before) before.replaceWith(card)
    else jobs.prepend(card)
    cards.set(job.number, { state: job.state, bar, text })
    progress(job, { bar, text })
    say(`${job.name}: ${words(job)}`)
  }

  replace(element, h('h1', {}, 'Draw a cohort'), h('div', { className: 'columns' }, form, jobs))
  await look()
  return () => {
    left = true
    clearTimeout(timer)
  }
}

function words(job: Job): string {
  const of = job.total ? `${thousands(job.done)} of ${thousands(job.total)} patients` : ''
  if (job.state === 'running') return job.done ? of : 'loading the models'
  if (job.state === 'done') return `done, ${thousands(job.done)} patients`
  if (job.state === 'cancelled') return `cancelled; ${of || 'nothing'} on disk`
  return `failed: ${job.message}`
}

function row(label: string, input: HTMLElement, more?: HTMLElement): HTMLElement {
  return h('div', { className: 'row' }, h('label', { htmlFor: input.id }, label), input, more)
}
