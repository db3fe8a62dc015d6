// The page of a cohort: its figures, filters by any field, and the table of patients.
import { api } from './api'
import { histogram } from './charts'
import { h, replace, say, uid } from './dom'
import { called, number, thousands, unit, written, type Field, type Overview, type Value } from './fields'
import { chosen, UNKNOWN, type Filter, type Sorting } from './filters'
import { VirtualTable, type Column } from './table'
import type { Unmount } from './router'

const ROW = 56 // pixels, as in style.css
const SOON = 400 // ms after the table is there
const FIRST = ['age', 'sex'] // filters that are always there

interface Conditions {
  names: string[]
  present: number[][]
}

// kept while another page is shown
const kept = { search: '', filters: [] as Filter[], sorting: { column: '', down: false } as Sorting, scroll: 0 }
const columns = new Map<string, Value[]>()

async function load(name: string): Promise<void> {
  if (!columns.has(name)) columns.set(name, await api.get<Value[]>(`/api/columns/${encodeURIComponent(name)}`))
}

export async function mount(element: HTMLElement): Promise<Unmount> {
  const [overview, conditions] = await Promise.all([api.get<Overview>('/api/cohort'), api.get<Conditions>('/api/conditions')])
  const records = overview.modalities.map((modality) => modality.name)
  await Promise.all(['patient_id', ...FIRST, ...records.map((name) => `has_${name}`)].map(load))
  const ids = columns.get('patient_id') as string[]
  const byName = new Map(overview.fields.map((field) => [field.name, field]))
  if (!kept.filters.length) kept.filters = FIRST.filter((name) => byName.has(name)).map((name) => ({ field: byName.get(name)! }))
  const labels = conditions.names.map((name) => byName.get(name)?.label ?? name)
  const texts = ids.map((id, place) => `${id} ${conditions.present[place]!.map((one) => labels[one]).join(' ')}`.toLowerCase())

  const count = h('p', { className: 'count' })
  const table = new VirtualTable(ROW, 'Patients', sort, (place) => (location.hash = `#/patient/${ids[place]}`))
  const panel = h('form', { className: 'filters', 'aria-label': 'Filters', onsubmit: (event: Event) => event.preventDefault() })
  let timer = 0

  function column(field: Field): Column {
    const values = columns.get(field.name)!
    return { key: field.name, label: field.unit ? `${field.label}, ${unit(field.unit)}` : field.label, sortable: true, className: FIRST.includes(field.name) ? '' : 'added', cell: (place) => written(field, values[place] ?? null) }
  }

  function show(): void {
    const imaging = records.find((name) => name.split(':')[0] === 'imaging')
    const has = imaging ? columns.get(`has_${imaging}`) : undefined
    const picture: Column = {
      key: 'picture', label: 'Image', sortable: false, className: 'picture',
      cell: (place) => has?.[place] ? h('img', { alt: '', width: 48, height: 48, 'data-src': `/api/thumbnails/${encodeURIComponent(ids[place]!)}` }) : '',
    }
    const shown: Column[] = [
      ...(imaging ? [picture] : []),
      { key: 'patient_id', label: 'Patient', sortable: true, className: 'id', cell: (place) => h('a', { href: `#/patient/${encodeURIComponent(ids[place]!)}` }, ids[place]!) },
      ...kept.filters.filter((filter) => columns.has(filter.field.name)).map((filter) => column(filter.field)),
      { key: 'conditions', label: 'Diagnoses', sortable: false, className: 'wide', cell: (place) => words(conditions.present[place]!.map((one) => labels[one]!)) },
      { key: 'records', label: 'Records', sortable: false, className: 'wide records', cell: (place) => words(records.filter((name) => columns.get(`has_${name}`)?.[place])) },
    ]
    table.setColumns(shown, kept.sorting.column, kept.sorting.down)
    const search = kept.search.trim().toLowerCase().split(/\s+/).filter(Boolean)
    const places = chosen(ids.length, kept.filters, columns, (place) => search.every((part) => texts[place]!.includes(part)), kept.sorting)
    table.setPlaces(places)
    const inverted = kept.filters.find(({ low, high }) => low !== undefined && high !== undefined && low > high)
    const text = places.length === ids.length ? `${thousands(ids.length)} patients` : places.length ? `${thousands(places.length)} of ${thousands(ids.length)} patients` : inverted ? `${inverted.field.label}: from ${inverted.low} to ${inverted.high} is no range; the first must be the smaller` : 'No patient passes these filters'
    if (count.textContent !== text) {
      count.textContent = text
      say(text)
    }
  }

  function soon(): void {
    clearTimeout(timer)
    timer = window.setTimeout(show, 120)
  }

  function sort(key: string): void {
    kept.sorting = { column: key, down: kept.sorting.column === key && !kept.sorting.down }
    show()
  }

  function drawFilters(): void {
    const search = h('input', { type: 'search', id: uid('search'), value: kept.search, placeholder: 'id or diagnosis', oninput: (event: Event) => { kept.search = (event.target as HTMLInputElement).value; soon() } })
    const list = h('datalist', { id: uid('fields') }, ...overview.fields.filter((field) => !kept.filters.some((one) => one.field.name === field.name)).map((field) => h('option', { value: called(field) })))
    const more = h('input', { id: uid('more'), list: list.id, placeholder: 'any field', autocomplete: 'off' })
    const add = async () => {
      const text = more.value.trim()
      const field = overview.fields.find((one) => called(one) === text || one.name === text) ?? overview.fields.find((one) => text && one.label.toLowerCase() === text.toLowerCase())
      if (!field || kept.filters.some((one) => one.field.name === field.name)) return
      await load(field.name)
      kept.filters.push({ field, words: field.kind === 'flag' ? new Set(['yes']) : undefined })
      drawFilters()
      show()
      panel.querySelector<HTMLElement>('fieldset:last-of-type input')?.focus()
    }
    more.addEventListener('change', () => void add())
    replace(
      panel,
      h('label', { htmlFor: search.id }, 'Search'), search,
      ...kept.filters.map(one),
      h('label', { htmlFor: more.id }, 'Add a filter'), more, list,
      h('button', { type: 'button', className: 'plain', id: 'reset', onclick: reset }, 'Clear all'),
    )
  }

  function reset(): void {
    kept.search = ''
    kept.filters = kept.filters.filter((filter) => FIRST.includes(filter.field.name)).map((filter) => ({ field: filter.field }))
    kept.sorting = { column: '', down: false }
    drawFilters()
    show()
    panel.querySelector('input')?.focus()
  }

  function one(filter: Filter): HTMLElement {
    const { field } = filter
    const remove = FIRST.includes(field.name) ? null : h('button', { type: 'button', className: 'plain remove', 'aria-label': `Remove the filter ${field.label}`, onclick: () => { kept.filters = kept.filters.filter((other) => other !== filter); if (kept.sorting.column === field.name) kept.sorting.column = ''; drawFilters(); show() } }, '×')
    const legend = h('legend', {}, field.unit ? `${called(field)}, ${unit(field.unit)}` : called(field), remove)
    if (field.kind === 'number') {
      const bound = (key: 'low' | 'high', label: string, edge?: number) => {
        const input = h('input', { type: 'number', step: 'any', value: filter[key] === undefined ? '' : String(filter[key]), placeholder: edge === undefined ? '' : number(edge), 'aria-label': `${field.label}, ${label}`, oninput: () => { filter[key] = input.value === '' ? undefined : Number(input.value); soon() } })
        return input
      }
      return h('fieldset', { className: 'range', 'data-field': field.name }, legend, bound('low', 'from', field.edges?.[0]), h('span', { 'aria-hidden': 'true' }, 'to'), bound('high', 'to', field.edges?.at(-1)))
    }
    const choices = [...(field.classes ?? []), ...(field.unknown ? [UNKNOWN] : [])]
    return h(
      'fieldset', { className: 'choices', 'data-field': field.name }, legend,
      ...choices.map((choice) => {
        const box = h('input', { type: 'checkbox', checked: filter.words?.has(choice) ?? false, onchange: () => { filter.words ??= new Set(); if (box.checked) filter.words.add(choice); else filter.words.delete(choice); show() } })
        return h('label', {}, box, written(field, choice))
      }),
    )
  }

  replace(
    element,
    h('h1', {}, overview.title),
    figures(overview),
    h('details', { className: 'fields', ontoggle: (event: Event) => { const box = event.target as HTMLDetailsElement; if (box.open && box.children.length === 1) box.append(distributions(overview)) } }, h('summary', {}, `How ${overview.fields.length} fields are distributed`)),
    h('div', { className: 'browse' }, h('details', { className: 'panel', open: innerWidth > 800 }, h('summary', {}, 'Filters'), panel), h('div', { className: 'list' }, count, table.element)),
  )
  drawFilters()
  show()
  table.scroll = kept.scroll
  const redraw = new ResizeObserver(() => table.draw())
  redraw.observe(table.element)
  const warm = window.setTimeout(() => void soonWanted(), SOON)
  return () => {
    kept.scroll = table.scroll
    clearTimeout(timer)
    clearTimeout(warm)
    redraw.disconnect()
    table.destroy()
  }
}

// What the page of a patient needs, loaded while one looks at the table.
async function soonWanted(): Promise<void> {
  await Promise.all([import('./patient/page'), import('./patient/xray'), import('./patient/ecg'), import('./patient/series'), import('./patient/omics')])
  document.documentElement.dataset.warm = 'true'
}

function words(names: string[]): HTMLElement {
  return h('span', { className: 'clamp', title: names.join(', ') }, names.length ? names.join(', ') : '–')
}

function figures(overview: Overview): HTMLElement {
  const age = overview.fields.find((field) => field.name === 'age')
  const sex = overview.fields.find((field) => field.name === 'sex')
  const women = sex?.classes?.indexOf('F') ?? -1
  const known = sex ? sex.counts.reduce((a, b) => a + b, 0) : 0
  const rows: [string, string][] = [
    ['patients', thousands(overview.patients)],
    ...(age?.mean ? [['years of age, mean ± SD', `${number(age.mean)} ± ${number(age.sd ?? 0)}`] as [string, string]] : []),
    ...(known && women >= 0 ? [['women', `${Math.round((100 * sex!.counts[women]!) / known)} %`] as [string, string]] : []),
    ...overview.modalities.map((modality) => [`have ${modality.name}`, thousands(modality.with_record)] as [string, string]),
    ['seed', String(overview.seed)],
  ]
  return h('dl', { className: 'figures' }, ...rows.map(([what, value]) => h('div', {}, h('dt', {}, what), h('dd', {}, value))))
}

function distributions(overview: Overview): HTMLElement {
  const shown = overview.fields.filter((field) => field.counts.length && !field.name.startsWith('has_'))
  return h('div', { className: 'distributions' }, ...shown.map((field) => h('figure', {}, h('figcaption', {}, called(field)), histogram(field, [field]))))
}
