// ECG paper: where leads stand on it, in millimetres, and how they are drawn.
import type { Head } from './ecg'
import { colour } from './types'

export interface Cell {
  lead: string
  place: number // of the lead among the values
  row: number
  from: number // s of the sheet
  to: number
}

export interface Paper {
  head: Head
  values: Float32Array[] // a lead each, mV
  from: number // s of the record at which the sheet begins
  seconds: number
  speed: number // mm/s
  gain: number // mm/mV
  beats: boolean
  waves: boolean
  mm: number // px
  layout: Cell[]
}

const GRID = [
  ['I', 'aVR', 'V1', 'V4'],
  ['II', 'aVL', 'V2', 'V5'],
  ['III', 'aVF', 'V3', 'V6'],
]
export const MARGIN = 10 // mm left of the first sample, for the calibration pulse
const TOP = 4
const UP = 14 // mm above the middle of a row, at least, and below it
const DOWN = 11
const MOST = 45 // mm a row reaches to either side, at most
const LABEL = 5 // mm of a lead's name above its waves
const MARKS = 6 // mm of beat marks above the last row

// Three rows of four leads, 2.5 s each, and lead II below them; of other leads a row each.
export function format(leads: string[], seconds = 10): Cell[] {
  if (GRID.flat().every((lead) => leads.includes(lead))) {
    const cells = GRID.flatMap((row, r) => row.map((lead, c): Cell => ({ lead, place: leads.indexOf(lead), row: r, from: (c * seconds) / 4, to: ((c + 1) * seconds) / 4 })))
    return [...cells, { lead: 'II', place: leads.indexOf('II'), row: 3, from: 0, to: seconds }]
  }
  return leads.map((lead, place) => ({ lead, place, row: place, from: 0, to: seconds }))
}

interface Row {
  top: number // mm
  zero: number
  bottom: number
}

// Where rows stand: each as high as its waves and names ask for, so that none runs into the next.
export function rows(paper: Paper): Row[] {
  const found: Row[] = []
  let top = TOP
  const last = Math.max(...paper.layout.map((cell) => cell.row))
  for (let row = 0; row <= last; row++) {
    let [up, down] = [Math.max(UP, paper.gain + LABEL), DOWN]
    for (const cell of paper.layout.filter((one) => one.row === row)) {
      const own = (paper.values[cell.place] ?? []).slice(Math.round(cell.from * paper.head.rate), Math.round(cell.to * paper.head.rate) + 1)
      for (const value of own) {
        if (value * paper.gain + LABEL > up) up = value * paper.gain + LABEL
        if (-value * paper.gain + 1.5 > down) down = -value * paper.gain + 1.5
      }
    }
    if (row === last) top += MARKS
    const zero = top + Math.min(MOST, up)
    found.push({ top, zero, bottom: zero + Math.min(MOST, down) })
    top = found.at(-1)!.bottom
  }
  return found
}

export function size(paper: Paper): { width: number; height: number } {
  return { width: MARGIN + paper.seconds * paper.speed + 3, height: rows(paper).at(-1)!.bottom + (paper.waves ? 4 : 0) + 6 }
}

export function middle(paper: Paper): number {
  return rows(paper).at(-1)!.zero
}

export function fit(canvas: HTMLCanvasElement, paper: Paper): CanvasRenderingContext2D {
  const scale = devicePixelRatio || 1
  const { width, height } = size(paper)
  canvas.width = Math.round(width * paper.mm * scale)
  canvas.height = Math.round(height * paper.mm * scale)
  canvas.style.width = `${width * paper.mm}px`
  canvas.style.height = `${height * paper.mm}px`
  const context = canvas.getContext('2d')!
  context.scale(scale * paper.mm, scale * paper.mm) // from here on, one unit is a millimetre
  return context
}

export function draw(canvas: HTMLCanvasElement, paper: Paper): void {
  const context = fit(canvas, paper)
  const { width, height } = size(paper)
  const at = rows(paper)
  grid(context, width, height, paper.mm)
  const hair = 1 / paper.mm
  context.lineJoin = 'round'
  context.font = `600 ${Math.max(3.2, 11 * hair)}px system-ui, sans-serif`
  for (const cell of paper.layout) trace(context, paper, cell, at[cell.row]!.zero)
  for (const { zero } of at) pulse(context, paper, zero)
  for (const cell of paper.layout) words(context, cell.lead, MARGIN + cell.from * paper.speed + 1, at[cell.row]!.top + 3.8)
  marks(context, paper, at.at(-1)!)
  context.fillStyle = colour('--ecg-trace')
  context.font = `${Math.max(2.8, 10 * hair)}px system-ui, sans-serif`
  context.fillText(`${paper.speed} mm/s   ${paper.gain} mm/mV   ${paper.head.rate} Hz${paper.from ? `   from ${paper.from.toFixed(0)} s` : ''}`, MARGIN, height - 2)
  canvas.dataset.mm = String(paper.mm)
  canvas.dataset.speed = String(paper.speed)
  canvas.dataset.margin = String(MARGIN)
}

function grid(context: CanvasRenderingContext2D, width: number, height: number, mm: number): void {
  context.fillStyle = colour('--ecg-paper')
  context.fillRect(0, 0, width, height)
  for (const [step, name, line] of [[1, '--ecg-fine', 0.6], [5, '--ecg-bold', 1]] as const) {
    context.strokeStyle = colour(name)
    context.lineWidth = line / mm
    context.beginPath()
    for (let x = 0; x <= width; x += step) context.moveTo(x, 0), context.lineTo(x, height)
    for (let y = 0; y <= height; y += step) context.moveTo(0, y), context.lineTo(width, y)
    context.stroke()
  }
}

// Words on their own bit of paper, so that no line crosses them.
function words(context: CanvasRenderingContext2D, text: string, x: number, y: number, ink = '--ecg-trace'): void {
  context.save()
  context.strokeStyle = colour('--ecg-paper')
  context.lineWidth = 1.2
  context.strokeText(text, x, y)
  context.fillStyle = colour(ink)
  context.fillText(text, x, y)
  context.restore()
}

function trace(context: CanvasRenderingContext2D, paper: Paper, cell: Cell, zero: number): void {
  const values = paper.values[cell.place]
  if (!values) return
  const { rate } = paper.head
  context.strokeStyle = colour('--ecg-trace')
  context.lineWidth = Math.max(0.25, 1.1 / paper.mm)
  context.beginPath()
  let down = false
  for (let n = Math.round(cell.from * rate); n <= Math.min(values.length - 1, Math.round(cell.to * rate)); n++) {
    const value = values[n]!
    if (Number.isNaN(value)) {
      down = false
      continue
    }
    const [x, y] = [MARGIN + (n / rate) * paper.speed, zero - value * paper.gain]
    if (down) context.lineTo(x, y)
    else context.moveTo(x, y)
    down = true
  }
  context.stroke()
  if (cell.from > 0) {
    context.beginPath() // where one lead follows another
    const x = MARGIN + cell.from * paper.speed
    context.moveTo(x, zero - 4)
    context.lineTo(x, zero - 1.5)
    context.moveTo(x, zero + 1.5)
    context.lineTo(x, zero + 4)
    context.stroke()
  }
}

// 1 mV for 0.2 s, as a recorder draws it before the leads
function pulse(context: CanvasRenderingContext2D, paper: Paper, zero: number): void {
  const wide = 0.2 * paper.speed
  const x = Math.max(0.5, MARGIN - wide - 3)
  context.strokeStyle = colour('--ecg-trace')
  context.lineWidth = Math.max(0.25, 1.1 / paper.mm)
  context.beginPath()
  context.moveTo(x - 0.5, zero)
  context.lineTo(x, zero)
  context.lineTo(x, zero - paper.gain)
  context.lineTo(x + wide, zero - paper.gain)
  context.lineTo(x + wide, zero)
  context.lineTo(x + wide + 1, zero)
  context.stroke()
}

// Beats above the last row, waves below it.
function marks(context: CanvasRenderingContext2D, paper: Paper, row: Row): void {
  const { rate } = paper.head
  const top = row.top - MARKS + 3.2
  const x = (sample: number) => MARGIN + (sample / rate - paper.from) * paper.speed
  const inside = (sample: number) => sample >= paper.from * rate && sample <= (paper.from + paper.seconds) * rate
  context.textAlign = 'center'
  context.font = `600 ${Math.max(2.8, 9.5 / paper.mm)}px system-ui, sans-serif`
  context.lineWidth = 1 / paper.mm
  if (paper.beats) {
    for (const [sample, kind] of paper.head.beats.filter(([sample]) => inside(sample))) {
      const ink = kind === 'N' ? '--ecg-mark' : '--alarm'
      words(context, kind === '/' ? 'paced' : kind, x(sample), top, ink)
      context.strokeStyle = colour(ink)
      context.beginPath()
      context.moveTo(x(sample), top + 0.6)
      context.lineTo(x(sample), top + 2.2)
      context.stroke()
    }
  }
  if (paper.waves) {
    const low = row.bottom
    context.fillStyle = context.strokeStyle = colour('--ecg-mark')
    for (const [sample, kind] of paper.head.waves.filter(([sample]) => inside(sample))) {
      if (kind === '(' || kind === ')') {
        context.beginPath()
        context.moveTo(x(sample), low - 7)
        context.lineTo(x(sample), low)
        context.stroke()
      } else context.fillText({ p: 'P', N: 'R', t: 'T' }[kind] ?? kind, x(sample), low + 3)
    }
  }
  context.textAlign = 'left'
}
