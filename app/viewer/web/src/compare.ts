// Two cohorts side by side: every field that both have, in the same bins.
import { api } from './api'
import { histogram } from './charts'
import { h, replace } from './dom'
import { called, number, thousands, written, type Field } from './fields'

interface Side extends Pick<Field, 'counts' | 'edges' | 'classes' | 'mean' | 'sd' | 'unknown'> {}
interface Compared {
  cohorts: { name: string; folder: string; patients: number }[]
  only: string[][]
  fields: (Pick<Field, 'name' | 'label' | 'kind' | 'unit'> & { sides: Side[]; difference: number | null })[]
}

const LARGE = 0.2 // standardised differences beyond this are called small effects (Cohen 1988), and shown first

export async function mount(element: HTMLElement, job: string): Promise<void> {
  const found = await api.get<Compared>(`/api/compare${job ? `?job=${encodeURIComponent(job)}` : ''}`)
  const all = found.fields.filter((field) => !field.name.startsWith('has_'))
  const names = found.cohorts.map((one, k) => (found.cohorts[0]!.folder === found.cohorts[1]!.folder ? `${one.folder} (${k + 1})` : one.folder))
  const size = (one: Compared['fields'][number]) => Math.abs(one.difference ?? 0)
  const order = h('select', { id: 'order' }, h('option', { value: 'size' }, 'largest difference first'), h('option', { value: 'field' }, 'as in the table'))
  const grid = h('div', { className: 'distributions' })

  function show(): void {
    const fields = [...all]
    if (order.value === 'size') fields.sort((a, b) => size(b) - size(a))
    replace(grid, ...fields.map((field) => card(field, names)))
  }

  order.addEventListener('change', show)
  const large = all.filter((field) => size(field) >= LARGE).length
  replace(
    element,
    h('h1', {}, 'Two cohorts'),
    h('ul', { className: 'legend' }, ...found.cohorts.map((one, k) => h('li', {}, h('span', { className: `swatch swatch${k}`, 'aria-hidden': 'true' }), `${names[k]}: ${one.name}, ${thousands(one.patients)} patients`))),
    h('p', {}, `${large} of ${all.length} fields differ by ${LARGE} standard deviations or more.`),
    ...found.only.map((own, k) => (own.length ? h('p', { className: 'note' }, `In ${names[k]} alone: ${own.map((name) => name.replace(/^has_/, 'records of ')).join(', ')}.`) : null)),
    h('div', { className: 'inline' }, h('label', { htmlFor: 'order' }, 'Order'), order),
    grid,
  )
  show()
}

function card(field: Compared['fields'][number], names: string[]): HTMLElement {
  const difference = field.difference === null ? '' : `difference ${field.difference > 0 ? '+' : field.difference < 0 ? '−' : ''}${Math.abs(field.difference).toFixed(2)} SD`
  const values = field.sides.map((side, k) => `${names[k]}: ${summary(field, side)}`)
  return h(
    'figure', { 'data-field': field.name },
    h('figcaption', {}, called(field)),
    histogram(field, field.sides, names),
    h('p', { className: 'values' }, ...values.map((value) => h('span', {}, value)), difference ? h('span', { className: Math.abs(field.difference ?? 0) >= LARGE ? 'large' : '' }, difference) : null),
  )
}

function summary(field: Compared['fields'][number], side: Side): string {
  const { kind } = field
  const known = side.counts.reduce((a, b) => a + b, 0)
  if (!known) return 'unknown'
  if (kind === 'number') return `${number(side.mean ?? 0)} ± ${number(side.sd ?? 0)}`
  if (kind === 'flag') return `${((100 * side.counts[0]!) / known).toFixed(1)} %`
  const most = Math.max(...side.counts)
  return `most often ${written(field, side.classes?.[side.counts.indexOf(most)] ?? null)}, ${((100 * most) / known).toFixed(0)} %`
}
