// Images by Cornerstone3D: window, zoom, pan, invert, choice of series and slice, segmentations laid over them.
import { Enums, imageLoader, init as initCore, RenderingEngine, type StackViewport, type Types } from '@cornerstonejs/core'
import { init as initLoader, wadouri } from '@cornerstonejs/dicom-image-loader'
import { addTool, Enums as ToolEnums, init as initTools, PanTool, StackScrollTool, ToolGroupManager, WindowLevelTool, ZoomTool } from '@cornerstonejs/tools'
import { h, put, replace, say } from '../dom'
import { overlay } from './masks'
import type { ImageSeries, Mask, Page } from './types'
import { onWidth, when } from './types'

const TOOLS = [WindowLevelTool, ZoomTool, PanTool, StackScrollTool]
const NAMES: [string, string][] = [[WindowLevelTool.toolName, 'Window'], [ZoomTool.toolName, 'Zoom'], [PanTool.toolName, 'Pan'], [StackScrollTool.toolName, 'Scroll']]
const OPPOSITE: Record<string, string> = { L: 'R', R: 'L', A: 'P', P: 'A', H: 'F', F: 'H' }
const { Primary, Auxiliary, Secondary, Wheel } = ToolEnums.MouseBindings
let ready: Promise<void> | undefined
let count = 0

// Once a visit of the site: renderer, loader, tools.
export function prepare(): Promise<void> {
  return (ready ??= start())
}

async function start(): Promise<void> {
  const said = console.log
  console.log = () => {} // Cornerstone tells there which renderer it took
  initCore()
  console.log = said
  initLoader({ maxWebWorkers: 1 })
  initTools()
  TOOLS.forEach((tool) => addTool(tool))
}

export async function images(place: HTMLElement, page: Page, series: ImageSeries[], masks: Mask[]): Promise<void> {
  if (!series.length) return put(place, h('p', {}, 'There are segmentations, but not the images that they are of.'))
  await prepare()
  const id = `image-${(count += 1)}`
  const screen = h('div', {
    className: 'screen',
    tabIndex: 0,
    role: 'application',
    'aria-label': 'Image. Arrow keys move it, plus and minus zoom, w and s brighten and darken, a and d widen and narrow the window, i inverts, r resets, page up and page down turn the slices.',
  })
  const said = h('output', { className: 'readout' })
  const sides = ['top', 'right', 'bottom', 'left'].map((side) => h('span', { className: `side ${side}`, 'aria-hidden': 'true' }))
  const frame = h('div', { className: 'frame' }, screen, ...sides)
  const about = h('p', { className: 'note' })
  const slice = h('input', { type: 'range', min: '0', value: '0', 'aria-label': 'Slice' })
  const bar = h('div', { className: 'inline controls', role: 'toolbar', 'aria-label': 'Image tools' })
  const covers = h('fieldset', { className: 'facts' })
  put(place, bar, frame, said, covers, about)

  const engine = new RenderingEngine(`engine-${id}`)
  engine.enableElement({ viewportId: id, type: Enums.ViewportType.STACK, element: screen })
  const viewport = engine.getViewport(id) as StackViewport
  const group = ToolGroupManager.createToolGroup(id)!
  TOOLS.forEach((tool) => group.addTool(tool.toolName))
  group.addViewport(id, engine.id)
  page.leave.addEventListener('abort', () => {
    ToolGroupManager.destroyToolGroup(id)
    engine.destroy()
    wadouri.dataSetCacheManager.purge()
  })
  const laid = overlay(frame, viewport, page)

  const take = (name: string) => {
    for (const tool of TOOLS) group.setToolPassive(tool.toolName, { removeAllBindings: true })
    const bindings: Record<string, { mouseButton?: number; numTouchPoints?: number }[]> = {
      [PanTool.toolName]: [{ mouseButton: Auxiliary }],
      [ZoomTool.toolName]: [{ mouseButton: Secondary }, { numTouchPoints: 2 }],
      [StackScrollTool.toolName]: shown.instances.length * shown.frames > 1 ? [{ mouseButton: Wheel }] : [],
    }
    bindings[name] = [...(bindings[name] ?? []), { mouseButton: Primary }]
    for (const [tool, own] of Object.entries(bindings)) if (own.length) group.setToolActive(tool, { bindings: own })
    for (const button of bar.querySelectorAll<HTMLElement>('[data-tool]')) button.setAttribute('aria-pressed', String(button.dataset.tool === name))
  }

  let shown = series[0]!
  const show = async (one: ImageSeries) => {
    shown = one
    const ids = one.instances.flatMap(({ n }) => Array.from({ length: one.frames }, (_, k) => `wadouri:${location.origin}${page.base}/dicom/${n}?plain${one.frames > 1 ? `&frame=${k + 1}` : ''}`))
    const at = Math.floor((ids.length - 1) / 2)
    await imageLoader.loadAndCacheImage(ids[at]!).catch(() => Promise.reject(new Error(`${one.label}: the image cannot be read`)))
    await viewport.setStack(ids, at)
    viewport.resetCamera()
    viewport.resetProperties()
    viewport.render()
    slice.max = String(ids.length - 1)
    slice.value = String(at)
    slice.hidden = ids.length < 2
    const [right, down] = one.sides
    const names = one.sides.length === 2 ? [opposite(down!), right!, down!, opposite(right!)] : ['', '', '', '']
    sides.forEach((side, n) => (side.textContent = names[n]!))
    about.textContent = [one.label, one.modality, `${one.columns} × ${one.rows}${ids.length > 1 ? ` × ${ids.length}` : ''}`, when(one.time)].filter(Boolean).join(' · ')
    replace(covers, ...laid.choose(one, masks))
    covers.hidden = !covers.childElementCount
    screen.setAttribute('data-series', one.key)
    take(NAMES[0]![0])
    tell()
  }

  const turnTo = (one: ImageSeries) => show(one).catch((error: Error) => (about.textContent = error.message))

  const tell = () => {
    const { voiRange, invert } = viewport.getProperties()
    if (!voiRange) return
    const [width, centre] = [voiRange.upper - voiRange.lower, (voiRange.upper + voiRange.lower) / 2]
    said.textContent = `W ${Math.round(width)}  C ${Math.round(centre)}  zoom ${Math.round(viewport.getZoom() * 100)} %${invert ? '  inverted' : ''}${slice.hidden ? '' : `  slice ${viewport.getCurrentImageIdIndex() + 1} of ${Number(slice.max) + 1}`}`
    slice.value = String(viewport.getCurrentImageIdIndex())
    frame.dataset.corners = corners(viewport)
  }
  screen.addEventListener(Enums.Events.IMAGE_RENDERED, tell)

  const reset = () => {
    viewport.resetCamera()
    viewport.resetProperties()
    viewport.render()
    say('Image reset')
  }
  const invert = () => {
    viewport.setProperties({ invert: !viewport.getProperties().invert })
    viewport.render()
  }
  const button = (label: string, onclick: () => void, more: Record<string, string> = {}) => h('button', { type: 'button', className: 'quiet', onclick, ...more }, label)
  put(
    bar,
    series.length > 1 &&
      h('label', {}, 'Series ', h('select', { onchange: (event: Event) => void turnTo(series[Number((event.target as HTMLSelectElement).value)]!) }, ...series.map((one, n) => h('option', { value: String(n) }, one.label)))),
    ...NAMES.filter(([name]) => name !== StackScrollTool.toolName || series.some((one) => one.instances.length * one.frames > 1)).map(([name, label]) => button(label, () => take(name), { 'data-tool': name, 'aria-pressed': 'false' })),
    button('Invert', invert),
    button('Reset', reset),
    slice,
  )
  slice.addEventListener('input', () => void viewport.setImageIdIndex(Number(slice.value)).then(tell))
  screen.addEventListener('keydown', (event) => keys(event, viewport, { invert, reset, slice }))
  place.closest('section')?.addEventListener('chosen', (event) => {
    const chosen = series.findIndex((one) => one.key === (event as CustomEvent<string>).detail)
    const select = bar.querySelector('select')
    if (chosen >= 0 && series[chosen] !== shown) {
      if (select) select.value = String(chosen)
      void turnTo(series[chosen]!)
    }
  })
  await show(shown)
  onWidth(page, frame, () => {
    engine.resize(true, true)
    tell()
  })
}

// Direction letters of both ends of a side: LF of the right end is RH of the left one.
function opposite(side: string): string {
  return [...side].map((letter) => OPPOSITE[letter] ?? letter).join('')
}

// Where the corners of the image lie on the canvas, px: upper left, upper right, lower left.
export function corners(viewport: StackViewport): string {
  const image = viewport.getImageData()
  if (!image) return ''
  const [columns, rows] = image.dimensions
  const at = ([x, y]: [number, number]) => viewport.worldToCanvas(image.imageData.indexToWorld!([x - 0.5, y - 0.5, 0]) as Types.Point3).map((value) => value.toFixed(2))
  return ([[0, 0], [columns, 0], [0, rows]] as [number, number][]).map((corner) => at(corner).join(',')).join(' ')
}

function keys(event: KeyboardEvent, viewport: StackViewport, { invert, reset, slice }: { invert: () => void; reset: () => void; slice: HTMLInputElement }): void {
  const [x, y] = viewport.getPan()
  const range = viewport.getProperties().voiRange
  const turn = (by: number) => void viewport.setImageIdIndex(Math.max(0, Math.min(Number(slice.max), viewport.getCurrentImageIdIndex() + by)))
  const window = (move: number, widen: number) => {
    if (!range) return
    const width = range.upper - range.lower
    viewport.setProperties({ voiRange: { lower: range.lower + width * (move - widen), upper: range.upper + width * (move + widen) } })
  }
  const actions: Record<string, () => void> = {
    ArrowLeft: () => viewport.setPan([x - 20, y]), ArrowRight: () => viewport.setPan([x + 20, y]), ArrowUp: () => viewport.setPan([x, y - 20]), ArrowDown: () => viewport.setPan([x, y + 20]),
    '+': () => viewport.setZoom(viewport.getZoom() * 1.15), '-': () => viewport.setZoom(viewport.getZoom() / 1.15),
    w: () => window(-0.05, 0), s: () => window(0.05, 0), a: () => window(0, 0.05), d: () => window(0, -0.05),
    i: invert, r: reset, PageUp: () => turn(-1), PageDown: () => turn(1),
  }
  const act = actions[event.key === '=' ? '+' : event.key]
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return
  event.preventDefault()
  act()
  viewport.render()
}
