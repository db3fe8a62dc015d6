// A tumour among the cohort's: where it lies on two principal components, and a heat map of the genes that vary most.
import { decompress } from 'fzstd'
import * as zarr from 'zarrita'
import { h, put, replace, svg } from '../dom'
import type { Page, Sample } from './types'
import { colour, onColours, onWidth } from './types'

interface Position {
  ids: string[]
  unit: string
  points: [number, number][]
  explained: [number, number]
  coloured_by: string
  classes: string[]
  features: number
  used: number
  genes: { column: number; name: string; mean: number; sd: number }[]
  row: number
}

// zarrita's own zstd compiles text at run time, which the page's policy forbids
zarr.registry.set('zstd', async () => ({
  fromConfig: () => ({
    kind: 'bytes_to_bytes',
    encode: () => { throw new Error('stores are only read here') },
    decode: (bytes: Uint8Array) => decompress(bytes),
  }),
}) as never)

const CLASSES = ['--class0', '--class1', '--class2', '--class3', '--class4', '--class5']
const OTHERS = 60 // samples beside the patient's on the heat map
const MOST_POINTS = 2000
const FAR = 2.5 // standard deviations of the strongest colour
const ROW = 15 // px

export async function omics(place: HTMLElement, page: Page, samples: Sample[]): Promise<void> {
  const body = h('div', { className: 'omics' })
  if (samples.length > 1)
    put(
      place,
      h('label', { className: 'inline controls' }, 'Assay ', h('select', { onchange: (event: Event) => void show(samples[Number((event.target as HTMLSelectElement).value)]!) }, ...samples.map((one, n) => h('option', { value: String(n), selected: n === first(samples) }, one.label)))),
    )
  put(place, body)
  place.closest('section')?.addEventListener('chosen', (event) => {
    const chosen = samples.findIndex((one) => one.key === (event as CustomEvent<string>).detail)
    const select = place.querySelector('select')
    if (select && chosen >= 0 && Number(select.value) !== chosen) {
      select.value = String(chosen)
      void show(samples[chosen]!)
    }
  })
  let turn = 0
  async function show(sample: Sample): Promise<void> {
    const mine = ++turn
    replace(body, h('p', { className: 'note' }, 'Loading …'))
    try {
      const found = await page.get<Position>(`/omics?store=${encodeURIComponent(sample.store)}`)
      const rows = await neighbours(found, sample)
      const block = await read(sample, rows, found)
      if (mine !== turn) return
      replace(body, scatter(found), heatmap(page, found, rows, block))
    } catch (error) {
      if (mine === turn) replace(body, h('p', { className: 'failed', role: 'alert' }, (error as Error).message))
    }
  }
  await show(samples[first(samples)]!)
}

function first(samples: Sample[]): number {
  return Math.max(0, samples.findIndex((one) => one.assay === 'rna'))
}

// Rows of the store beside the patient's, in the same chunk so that one read has them, by class and first component.
async function neighbours(found: Position, sample: Sample): Promise<number[]> {
  const array = await zarr.open.v3(root(sample).resolve('X'), { kind: 'array' })
  const size = array.chunks[0]!
  const start = Math.floor(sample.row / size) * size
  const all = Array.from({ length: Math.min(size, found.ids.length - start) }, (_, n) => start + n).filter((row) => row !== sample.row)
  const step = Math.max(1, all.length / OTHERS)
  const chosen = Array.from({ length: Math.min(all.length, OTHERS) }, (_, n) => all[Math.floor(n * step)]!)
  const place = (row: number) => [found.classes[row] ?? '', found.points[row]![0]] as const
  return chosen.sort((a, b) => place(a)[0].localeCompare(place(b)[0]) || place(a)[1] - place(b)[1])
}

function root(sample: Sample): zarr.Location<zarr.FetchStore> {
  const path = sample.store.split('/').map(encodeURIComponent).join('/')
  return zarr.root(new zarr.FetchStore(new URL(`/api/store/${path}`, location.href)))
}

// Values of the patient's row (first) and of the other rows, the genes of the heat map alone: [row][gene].
async function read(sample: Sample, rows: number[], found: Position): Promise<number[][]> {
  const array = await zarr.open.v3(root(sample).resolve('X'), { kind: 'array' })
  const wanted = [sample.row, ...rows]
  const [low, high] = [Math.min(...wanted), Math.max(...wanted) + 1]
  const block = await zarr.get(array, [zarr.slice(low, high), null])
  const data = block.data as unknown as ArrayLike<number>
  return wanted.map((row) => found.genes.map((gene) => data[(row - low) * block.stride[0]! + gene.column * block.stride[1]!]!))
}

function scatter(found: Position): HTMLElement {
  const [width, height, edge] = [430, 360, 36]
  const [xs, ys] = [found.points.map((point) => point[0]), found.points.map((point) => point[1])]
  const scale = (values: number[], from: number, to: number) => {
    const [low, high] = [Math.min(...values), Math.max(...values)]
    return (value: number) => from + ((value - low) / (high - low || 1)) * (to - from)
  }
  const [x, y] = [scale(xs, edge, width - 14), scale(ys, height - edge, 14)]
  const classes = [...new Set(found.classes)].sort()
  const step = Math.max(1, Math.ceil(found.points.length / MOST_POINTS))
  const dots = found.points.flatMap((point, n) => {
    if (n % step && n !== found.row) return []
    const dot = svg('circle', { cx: x(point[0]), cy: y(point[1]), r: 4, class: `dot class${classes.indexOf(found.classes[n]!) % CLASSES.length}` }, svg('title', {}, `${found.ids[n]}${found.classes[n] ? `, ${found.classes[n]}` : ''}`))
    return [dot]
  })
  const own = found.points[found.row]!
  const mine = found.classes[found.row]
  const me = [svg('circle', { cx: x(own[0]), cy: y(own[1]), r: 9, class: 'me' }), svg('circle', { cx: x(own[0]), cy: y(own[1]), r: 4.5, class: `dot class${classes.indexOf(mine ?? '') % CLASSES.length}` })]
  const percent = (share: number) => `${(share * 100).toFixed(0)} %`
  const legend = classes.filter(Boolean).map((name) => h('li', {}, h('span', { className: `swatch class${classes.indexOf(name) % CLASSES.length}` }), `${name}${name === mine ? ' (this patient)' : ''}`))
  const picture = svg(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `Principal components of ${found.ids.length} samples; this patient's lies at ${own[0].toFixed(1)}, ${own[1].toFixed(1)}${mine ? `, class ${mine}` : ''}` },
    svg('path', { d: `M${edge - 8} 8 V${height - edge + 8} H${width - 6}`, class: 'frame' }),
    svg('text', { x: width / 2, y: height - 8, 'text-anchor': 'middle' }, `PC1, ${percent(found.explained[0])} of the variance`),
    svg('text', { x: 14, y: height / 2, 'text-anchor': 'middle', transform: `rotate(-90 14 ${height / 2})` }, `PC2, ${percent(found.explained[1])}`),
    ...dots,
    ...me,
  )
  const box = h('figure', { className: 'pca' }, h('figcaption', {}, `Among ${found.ids.length} samples, by the ${found.used} features of the greatest variance of ${found.features}`))
  box.append(picture)
  put(box, legend.length > 0 && h('ul', { className: 'legend inline', 'aria-label': `Colours: ${found.coloured_by}` }, ...legend))
  box.dataset.point = own.join(',')
  return box
}

function heatmap(page: Page, found: Position, rows: number[], block: number[][]): HTMLElement {
  const [mine, ...others] = block as [number[], ...number[][]]
  const z = (value: number, n: number) => (found.genes[n]!.sd > 0 ? (value - found.genes[n]!.mean) / found.genes[n]!.sd : 0)
  const order = found.genes.map((_, n) => n).sort((a, b) => z(mine[b]!, b) - z(mine[a]!, a))
  const canvas = h('canvas', { role: 'img', 'aria-label': `Heat map: ${order.length} features of this patient, beside ${others.length} other samples` })
  const tip = h('p', { className: 'note tip' }, 'Point at a cell to read it.')
  const wrap = h('div', { className: 'heat' }, canvas)
  const names = 84
  const [mineWide, gap] = [26, 8]
  const cell = () => Math.max(3, (wrap.clientWidth - names - mineWide - gap) / Math.max(1, others.length))
  const draw = () => {
    const scale = devicePixelRatio || 1
    const wide = cell()
    const [width, height] = [names + mineWide + gap + wide * others.length, order.length * ROW + 20]
    canvas.width = width * scale
    canvas.height = height * scale
    canvas.style.width = `${width}px`
    canvas.style.height = `${height}px`
    const context = canvas.getContext('2d')!
    context.scale(scale, scale)
    context.font = '11px system-ui, sans-serif'
    context.textBaseline = 'middle'
    order.forEach((n, line) => {
      const y = 20 + line * ROW
      context.fillStyle = colour('--ink')
      context.textAlign = 'right'
      context.fillText(found.genes[n]!.name.slice(0, 12), names - 6, y + ROW / 2)
      context.fillStyle = heat(z(mine[n]!, n))
      context.fillRect(names, y, mineWide, ROW - 1)
      others.forEach((row, column) => {
        context.fillStyle = heat(z(row[n]!, n))
        context.fillRect(names + mineWide + gap + column * wide, y, Math.max(1, wide - 0.5), ROW - 1)
      })
    })
    context.fillStyle = colour('--ink')
    context.textAlign = 'left'
    context.fillText('patient', names - 8, 8)
    // the class of each other sample above its column
    const classes = [...new Set(found.classes)].sort()
    others.forEach((_, column) => {
      const name = found.classes[rows[column]!] ?? ''
      context.fillStyle = name ? colour(CLASSES[classes.indexOf(name) % CLASSES.length]!) : colour('--line')
      context.fillRect(names + mineWide + gap + column * wide, 12, Math.max(1, wide - 0.5), 5)
    })
    context.strokeStyle = colour('--accent')
    context.lineWidth = 2
    context.strokeRect(names - 1, 19, mineWide + 2, order.length * ROW + 1)
  }
  canvas.addEventListener('pointermove', (event) => {
    const box = canvas.getBoundingClientRect()
    const [x, y] = [event.clientX - box.left, event.clientY - box.top]
    const gene = order[Math.floor((y - 20) / ROW)]
    if (gene === undefined || x < names) return
    const column = x < names + mineWide ? -1 : Math.floor((x - names - mineWide - gap) / cell())
    if (column >= others.length) return
    const value = column < 0 ? mine[gene]! : others[column]![gene]!
    const who = column < 0 ? 'this patient' : found.ids[rows[column]!]!
    tip.textContent = `${found.genes[gene]!.name}: ${value.toFixed(2)} ${found.unit}, ${signed(z(value, gene))} SD, ${who}`
  })
  onWidth(page, wrap, draw)
  onColours(page, draw)
  const list = order.map((n) => h('tr', {}, h('th', { scope: 'row' }, found.genes[n]!.name), h('td', {}, mine[n]!.toFixed(3)), h('td', {}, found.genes[n]!.mean.toFixed(2)), h('td', {}, signed(z(mine[n]!, n)))))
  const table = h('table', { className: 'tests genes' }, h('thead', {}, h('tr', {}, ...['feature', `this patient${found.unit ? ` (${found.unit})` : ''}`, 'mean of the cohort', 'SD from it'].map((name) => h('th', { scope: 'col' }, name)))), h('tbody', {}, ...list))
  return h(
    'figure',
    { className: 'heatmap' },
    h('figcaption', {}, `The ${order.length} features that vary most: this patient, then ${others.length} others by class`),
    wrap,
    h('p', { className: 'scale', 'aria-hidden': 'true' }, h('span', {}, `−${FAR} SD`), h('span', { className: 'bar' }), h('span', {}, `+${FAR} SD`)),
    tip,
    h('details', { className: 'fold' }, h('summary', {}, 'Values as a table'), h('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Values of the genes' }, table)),
  )
}

function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(1)}`
}

// Blue below the mean, red above it, as heat maps of expression have it; grey where not known.
function heat(value: number): string {
  if (Number.isNaN(value)) return '#888'
  const share = Math.min(1, Math.abs(value) / FAR)
  const mix = (from: number, to: number) => Math.round(from + (to - from) * share)
  const [r, g, b] = value > 0 ? [178, 24, 43] : [33, 102, 172]
  return `rgb(${mix(247, r)},${mix(247, g)},${mix(247, b)})`
}
