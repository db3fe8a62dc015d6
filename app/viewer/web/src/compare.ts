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
  const size = (one: Compared['fields'][number]) => Math.abs(one.difference ?? shift(one)?.size ?? 0)
  const [few, many] = found.cohorts.map((one) => one.patients).sort((a, b) => a - b) as [number, number]
  const chance = 2 * Math.sqrt(1 / Math.max(1, few) + 1 / Math.max(1, many))
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
    h('p', {}, `${large} of ${all.length} fields differ by ${LARGE} standard deviations (SD) or more. Of ${found.cohorts.map((one) => thousands(one.patients)).join(' against ')} patients, chance alone makes differences of up to ${chance.toFixed(2)} SD (95 % of them).`),
    ...found.only.map((own, k) => (own.length ? h('p', { className: 'note' }, `In ${names[k]} alone: ${own.map((name) => name.replace(/^has_/, 'records of ')).join(', ')}.`) : null)),
    h('div', { className: 'inline' }, h('label', { htmlFor: 'order' }, 'Order'), order),
    grid,
  )
  show()
}

function card(field: Compared['fields'][number], names: string[]): HTMLElement {
  const moved = field.difference === null ? shift(field) : null
  const difference = moved ? `${moved.text}, difference ${signed(moved.size)} SD` : field.difference === null ? '' : `difference ${signed(field.difference)} SD`
  const values = field.sides.map((side, k) => `${names[k]}: ${summary(field, side)}`)
  return h(
    'figure', { 'data-field': field.name },
    h('figcaption', {}, called(field)),
    histogram(field, field.sides, names),
    h('p', { className: 'values' }, ...values.map((value) => h('span', {}, value)), difference ? h('span', { className: Math.abs(field.difference ?? moved?.size ?? 0) >= LARGE ? 'large' : '' }, difference) : null),
  )
}

function signed(value: number): string {
  return `${value > 0 ? '+' : value < 0 ? '−' : ''}${Math.abs(value).toFixed(2)}`
}

// Of a category the class whose share differs most, in SD of a share of both cohorts together, and in points.
function shift(field: Compared['fields'][number]): { size: number; text: string } | null {
  const [a, b] = field.sides.map((side) => side.counts) as [number[], number[]]
  const [all, others] = [a, b].map((counts) => counts.reduce((x, y) => x + y, 0)) as [number, number]
  if (field.kind === 'number' || !all || !others) return null
  const classes = field.sides[0]!.classes ?? []
  const found = a.map((count, n) => {
    const [p, q] = [count / all, (b[n] ?? 0) / others]
    const middle = (p + q) / 2
    const points = Math.round(100 * (q - p))
    return { size: p === q ? 0 : (q - p) / Math.sqrt(middle * (1 - middle)), text: `${written(field, classes[n] ?? null)} ${points > 0 ? '+' : points < 0 ? '−' : ''}${Math.abs(points)} points` }
  })
  return found.reduce((most, one) => (Math.abs(one.size) > Math.abs(most.size) ? one : most), found[0]!) ?? null
}

function summary(field: Compared['fields'][number], side: Side): string {
  const { kind } = field
  const known = side.counts.reduce((a, b) => a + b, 0)
  if (!known) return 'unknown'
  if (kind === 'number') return `${number(side.mean ?? 0)} ± ${number(side.sd ?? 0)}, n = ${known}`
  if (kind === 'flag') return `${((100 * side.counts[0]!) / known).toFixed(1)} %, n = ${known}`
  const most = Math.max(...side.counts)
  return `most often ${written(field, side.classes?.[side.counts.indexOf(most)] ?? null)}, ${((100 * most) / known).toFixed(0)} %, n = ${known}`
}
