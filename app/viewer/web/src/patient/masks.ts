// Segmentations laid over an image: each segment in a colour of its own, on a canvas above the picture.
import { Enums, type StackViewport } from '@cornerstonejs/core'
import { h } from '../dom'
import type { ImageSeries, Mask, Page } from './types'
import { corners } from './xray'

const COLOURS: [number, number, number][] = [[230, 80, 60], [60, 160, 240], [80, 190, 90], [240, 180, 40], [180, 100, 220], [60, 200, 200]]
const OPAQUE = 0.45

interface Segment {
  mask: Mask
  number: number
  colour: [number, number, number]
}

export interface Overlay {
  choose(series: ImageSeries, masks: Mask[]): HTMLElement[]
}

export function overlay(frame: HTMLElement, viewport: StackViewport, page: Page): Overlay {
  const canvas = h('canvas', { className: 'masks', 'aria-hidden': 'true' })
  frame.append(canvas)
  const on = new Set<Segment>()
  const pictures = new Map<string, Promise<HTMLCanvasElement | undefined>>()
  let series: ImageSeries | undefined
  let turn = 0

  const picture = (segment: Segment, uid: string) => {
    const key = `${segment.mask.n}/${segment.number}?of=${uid}`
    if (!pictures.has(key)) pictures.set(key, painted(`${page.base}/mask/${key}`, segment.colour, page))
    return pictures.get(key)!
  }
  const draw = async () => {
    const mine = ++turn
    const uid = series?.instances[Math.floor(viewport.getCurrentImageIdIndex() / (series.frames || 1))]?.uid ?? ''
    const layers = await Promise.all([...on].filter(({ mask }) => !mask.of.length || mask.of.includes(uid)).map((segment) => picture(segment, uid)))
    if (mine !== turn || page.leave.aborted) return
    const scale = devicePixelRatio || 1
    canvas.width = frame.clientWidth * scale
    canvas.height = frame.clientHeight * scale
    const context = canvas.getContext('2d')!
    context.globalAlpha = OPAQUE
    context.imageSmoothingEnabled = false
    const [left, right, low] = corners(viewport).split(' ').map((corner) => corner.split(',').map(Number) as [number, number])
    for (const layer of layers) {
      if (!layer || !left || !right || !low) continue
      const [w, t] = [layer.width, layer.height]
      context.setTransform((scale * (right[0] - left[0])) / w, (scale * (right[1] - left[1])) / w, (scale * (low[0] - left[0])) / t, (scale * (low[1] - left[1])) / t, scale * left[0], scale * left[1])
      context.drawImage(layer, 0, 0)
    }
    canvas.dataset.layers = String(layers.filter(Boolean).length)
  }
  viewport.element.addEventListener(Enums.Events.IMAGE_RENDERED, () => void draw())

  return {
    choose(chosen, masks) {
      series = chosen
      on.clear()
      const uids = new Set(chosen.instances.map(({ uid }) => uid))
      const own = masks.filter((mask) => !mask.of.length || mask.of.some((uid) => uids.has(uid)))
      const segments = own.flatMap((mask) => mask.segments.map((segment) => ({ mask, number: segment.number, label: segment.label })))
      const boxes = segments.map(({ label, ...rest }, n) => {
        const segment: Segment = { ...rest, colour: COLOURS[n % COLOURS.length]! }
        on.add(segment)
        const swatch = h('span', { className: 'swatch' })
        swatch.style.background = `rgb(${segment.colour.join(',')})`
        const box = h('input', {
          type: 'checkbox',
          checked: true,
          onchange: (event: Event) => {
            if ((event.target as HTMLInputElement).checked) on.add(segment)
            else on.delete(segment)
            void draw()
          },
        })
        return h('label', { className: 'fact' }, box, ' ', swatch, label)
      })
      void draw()
      return boxes
    },
  }
}

async function painted(url: string, [r, g, b]: [number, number, number], page: Page): Promise<HTMLCanvasElement | undefined> {
  const response = await fetch(url, { signal: page.leave })
  if (!response.ok) return undefined // no part of the segment lies on this slice
  const [rows, columns] = (response.headers.get('x-shape') ?? '').split('x').map(Number)
  const covered = new Uint8Array(await response.arrayBuffer())
  if (!rows || !columns || covered.length !== rows * columns) return undefined
  const canvas = h('canvas', { width: columns, height: rows })
  const context = canvas.getContext('2d')!
  const pixels = context.createImageData(columns, rows)
  covered.forEach((value, n) => pixels.data.set([r, g, b, value], n * 4))
  context.putImageData(pixels, 0, 0)
  return canvas
}
