// A moving ECG: the pen goes from left to right over a few seconds and erases what is before it, as on a monitor.
const SECONDS = 5
const DELAY = 1.5 // s behind, so that a late second leaves no gap
const GAP = 0.18 // s erased before the pen
const MILLIVOLTS = 2.4 // from bottom to top; .millivolt of style.css is 1 of them high

export class Trace {
  private readonly context: CanvasRenderingContext2D
  private samples = new Map<number, (number | null)[]>() // by second
  private rate = 250
  private clock: number | undefined // second of the stream at which performance.now() is 0
  private drawn = 0
  private last: number | undefined
  colour = '#0a0'

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.context = canvas.getContext('2d')!
  }

  add(second: number, rate: number, microvolts: number[] | null): void {
    this.rate = rate
    this.samples.set(second, microvolts ?? new Array<null>(rate).fill(null))
    this.samples.delete(second - SECONDS - 4)
    const now = performance.now() / 1000
    const should = second + 1 - DELAY - now
    if (this.clock === undefined || Math.abs(this.clock - should) > 2) {
      this.clock = should
      this.drawn = second - DELAY
      this.last = undefined
    } else this.clock += 0.05 * (should - this.clock)
  }

  // Draw what has passed since the last frame.
  draw(): void {
    const { canvas, context } = this
    const scale = devicePixelRatio || 1
    const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)]
    if (!width || this.clock === undefined) return
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width
      canvas.height = height
      this.last = undefined
    }
    const until = this.clock + performance.now() / 1000
    const from = Math.max(this.drawn, until - SECONDS)
    if (until <= from) return
    const x = (time: number) => ((((time % SECONDS) + SECONDS) % SECONDS) / SECONDS) * width
    const y = (value: number) => height * (0.58 - value / 1000 / MILLIVOLTS)
    context.clearRect(x(from), 0, ((until - from + GAP) / SECONDS) * width + 1, height)
    if (x(until + GAP) < x(from)) context.clearRect(0, 0, x(until + GAP), height)
    context.strokeStyle = this.colour
    context.lineWidth = 1.4 * scale
    context.lineJoin = 'round'
    context.beginPath()
    let before: number | undefined
    for (let place = Math.floor(from * this.rate); place <= Math.floor(until * this.rate); place++) {
      const value = this.samples.get(Math.floor(place / this.rate))?.[((place % this.rate) + this.rate) % this.rate]
      const at = x(place / this.rate)
      if (value === null || value === undefined) {
        this.last = before = undefined
        continue
      }
      if (before === undefined || at < before) context.moveTo(at, y(this.last !== undefined && at >= (before ?? 0) ? this.last : value))
      context.lineTo(at, y(value))
      before = at
      this.last = value
    }
    context.stroke()
    this.drawn = until
  }
}
