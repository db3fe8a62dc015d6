// Alarm limits of the ward, adults at rest. They are rules of this page, not of a monitor that was cleared for use.
export interface Limit {
  low: number
  high: number
}

export const LIMITS: Record<string, Limit> = {
  HR: { low: 50, high: 120 },
  O2Sat: { low: 90, high: 101 },
  SBP: { low: 90, high: 180 },
  MAP: { low: 60, high: 120 },
  Resp: { low: 8, high: 30 },
  Temp: { low: 35, high: 38.5 },
}

export const HELD = 5 // s that a value must be beyond a limit, or back, before the alarm changes
export const SILENT = 6 // s without a message, after which a bed has no signal

// An alarm that comes after HELD s beyond a limit and goes after HELD s within it.
export class Alarm {
  on = false
  private since: number | undefined

  constructor(private readonly limit: Limit) {}

  take(value: number, second: number): boolean {
    const beyond = value < this.limit.low || value > this.limit.high
    if (beyond === this.on) {
      this.since = undefined
      return this.on
    }
    this.since ??= second
    if (second - this.since >= HELD) {
      this.on = beyond
      this.since = undefined
    }
    return this.on
  }
}
