// Calipers on ECG paper: two points, between them time (ms), rate (1/min) and voltage (mV).
import { fit, MARGIN, middle, type Paper } from './paper'
import { colour } from './types'

interface Point {
  time: number // s of the sheet
  y: number // mm
}

const HOLD = 2 // mm from a beat at which the calipers take its mark

export class Calipers {
  holding = true
  private a: Point | undefined
  private b: Point | undefined
  private dragging: 'a' | 'b' | undefined

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly paper: Paper,
    private readonly tell: (text: string) => void,
  ) {
    canvas.addEventListener('pointerdown', (event) => this.down(event))
    canvas.addEventListener('pointermove', (event) => this.drag(event))
    canvas.addEventListener('pointerup', () => (this.dragging = undefined))
    canvas.addEventListener('pointercancel', () => (this.dragging = undefined))
    canvas.addEventListener('keydown', (event) => this.key(event))
  }

  clear(): void {
    this.a = this.b = this.dragging = undefined
    delete this.canvas.dataset.ms
    this.draw()
  }

  draw(): void {
    const { paper, canvas } = this
    const context = fit(canvas, paper)
    if (!this.a || !this.b) return
    const x = (point: Point) => MARGIN + point.time * paper.speed
    const height = canvas.clientHeight / paper.mm || 1e3
    context.strokeStyle = context.fillStyle = colour('--accent')
    context.lineWidth = 1.5 / paper.mm
    context.globalAlpha = 0.1
    context.fillRect(Math.min(x(this.a), x(this.b)), 0, Math.abs(x(this.b) - x(this.a)), height)
    context.globalAlpha = 1
    context.beginPath()
    for (const point of [this.a, this.b]) {
      context.moveTo(x(point), 0)
      context.lineTo(x(point), height)
      context.moveTo(x(point) - 3, point.y)
      context.lineTo(x(point) + 3, point.y)
    }
    context.stroke()
    this.report(this.a, this.b)
  }

  private report(a: Point, b: Point): void {
    const ms = Math.abs(b.time - a.time) * 1000
    const mv = (a.y - b.y) / this.paper.gain
    const rate = ms > 0 ? 60_000 / ms : 0
    this.canvas.dataset.ms = ms.toFixed(2)
    this.canvas.dataset.mv = mv.toFixed(3)
    this.tell(`${ms.toFixed(0)} ms · ${rate ? rate.toFixed(0) : '–'} /min · ${mv.toFixed(2).replace('-', '−')} mV`)
  }

  private at(event: PointerEvent): Point {
    const box = this.canvas.getBoundingClientRect()
    const { paper } = this
    const time = Math.min(paper.seconds, Math.max(0, ((event.clientX - box.left) / paper.mm - MARGIN) / paper.speed))
    return { time: this.held(time, event.altKey), y: (event.clientY - box.top) / paper.mm }
  }

  private held(time: number, free: boolean): number {
    if (!this.holding || free) return time
    const beat = this.beats().reduce<number | undefined>((best, own) => (best === undefined || Math.abs(own - time) < Math.abs(best - time) ? own : best), undefined)
    return beat !== undefined && Math.abs(beat - time) * this.paper.speed < HOLD ? beat : time
  }

  private beats(): number[] {
    const { head, from, seconds } = this.paper
    return head.beats.map(([sample]) => sample / head.rate - from).filter((time) => time >= 0 && time <= seconds)
  }

  private down(event: PointerEvent): void {
    if (event.button !== 0) return
    this.canvas.setPointerCapture(event.pointerId)
    const point = this.at(event)
    const near = (own: Point | undefined) => own && Math.abs(own.time - point.time) * this.paper.speed * this.paper.mm < 8
    this.dragging = near(this.b) ? 'b' : near(this.a) ? 'a' : undefined
    const second = event.pointerType === 'touch' && this.a !== undefined && this.a === this.b
    if (second) this.b = point // a finger that drags scrolls the paper: two taps measure
    else if (!this.dragging) {
      this.a = point
      this.b = point
      this.dragging = 'b'
    }
    this.draw()
  }

  private drag(event: PointerEvent): void {
    if (!this.dragging) return
    this[this.dragging] = this.at(event)
    this.draw()
  }

  private key(event: KeyboardEvent): void {
    const { paper } = this
    if (event.key === 'Escape') return this.cleared()
    const beats = this.beats()
    if (event.key === 'n' || !this.a || !this.b) {
      if (event.key !== 'n' && !event.key.startsWith('Arrow')) return
      const next = beats.findIndex((time) => time > (this.a?.time ?? -1) + 1e-6)
      if (next < 0 || next + 1 >= beats.length) return this.cleared()
      const y = middle(paper)
      this.a = { time: beats[next]!, y }
      this.b = { time: beats[next + 1]!, y }
    } else {
      const point = event.shiftKey ? this.a : this.b
      const step = 1 / paper.head.rate
      const by: Record<string, [number, number]> = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -0.5], ArrowDown: [0, 0.5] }
      const moved = by[event.key]
      if (!moved) return
      point.time = Math.min(paper.seconds, Math.max(0, point.time + moved[0]))
      point.y += moved[1]
    }
    event.preventDefault()
    this.draw()
  }

  private cleared(): void {
    this.clear()
    this.tell('Drag over the paper to measure.')
  }
}
