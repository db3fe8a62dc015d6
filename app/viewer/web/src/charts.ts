// Bars of a distribution, of one cohort or of two side by side. The figures are in the label for those who do not see it.
import { h, svg } from './dom'
import { number, thousands, unit, written, type Field } from './fields'

const WIDTH = 220
const HEIGHT = 72

export function histogram(field: Pick<Field, 'name' | 'kind' | 'unit' | 'label'>, sides: Pick<Field, 'counts' | 'edges' | 'classes'>[], names: string[] = []): HTMLElement {
  const bars = sides[0]!.counts.length
  const shares = sides.map((side) => {
    const all = side.counts.reduce((a, b) => a + b, 0) || 1
    return side.counts.map((count) => count / all)
  })
  const most = Math.max(...shares.flat(), 0.001)
  const slot = WIDTH / Math.max(bars, 1)
  const gap = Math.min(4, slot * 0.15)
  const width = (slot - gap) / sides.length
  const drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${field.label}: ${spoken(field, sides, names)}`, preserveAspectRatio: 'none' })
  shares.forEach((side, k) =>
    side.forEach((share, place) => {
      const tall = Math.max(share > 0 ? 1.5 : 0, (share / most) * (HEIGHT - 4))
      const bar = svg('rect', { x: place * slot + gap / 2 + k * width, y: HEIGHT - tall, width: Math.max(0.5, width), height: tall, class: `side${k}` })
      bar.append(svg('title', {}, `${names[k] ? `${names[k]}: ` : ''}${bin(field, sides[k]!, place)}: ${(100 * share).toFixed(1)} %`))
      drawing.append(bar)
    }),
  )
  const top = sides.length > 1 ? `${(100 * most).toFixed(0)} %` : thousands(Math.max(...sides[0]!.counts))
  return h('div', { className: 'histogram' }, h('span', { className: 'top', 'aria-hidden': 'true', title: 'the highest bar' }, top), drawing as unknown as HTMLElement, axis(field, sides[0]!))
}

function axis(field: Pick<Field, 'name' | 'kind' | 'unit'>, side: Pick<Field, 'edges' | 'classes'>): HTMLElement {
  if (side.edges?.length) {
    const edges = side.edges
    return h('div', { className: 'axis', 'aria-hidden': 'true' }, h('span', {}, number(edges[0]!)), h('span', {}, unit(field.unit)), h('span', {}, number(edges.at(-1)!)))
  }
  const classes = side.classes ?? []
  const few = classes.length <= 6 ? classes : []
  return h('div', { className: 'axis classes', 'aria-hidden': 'true' }, ...few.map((one) => h('span', {}, written({ name: field.name, kind: field.kind }, one))))
}

function bin(field: Pick<Field, 'name' | 'kind'>, side: Pick<Field, 'edges' | 'classes'>, place: number): string {
  if (side.edges?.length) return `${number(side.edges[place]!)} to ${number(side.edges[place + 1]!)}`
  return written(field, side.classes?.[place] ?? '')
}

function spoken(field: Pick<Field, 'name' | 'kind' | 'unit'>, sides: Pick<Field, 'counts' | 'edges' | 'classes'>[], names: string[]): string {
  return sides.map((side, k) => (names[k] ? `${names[k]}, ` : '') + side.counts.map((count, place) => `${bin(field, side, place)}: ${count}`).join(', ')).join('; ')
}
