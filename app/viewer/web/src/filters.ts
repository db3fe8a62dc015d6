// Filters of the table of patients: what a patient must have. A value that is not known passes only where that is asked for.
import type { Field, Value } from './fields'

export interface Filter {
  field: Field
  low?: number
  high?: number
  words?: Set<string> // of a flag or a category: yes, no, a class, or UNKNOWN
}

export const UNKNOWN = 'unknown'

export function word(value: Value): string {
  return value === null ? UNKNOWN : value === true ? 'yes' : value === false ? 'no' : String(value)
}

export function passes(filter: Filter, value: Value): boolean {
  if (filter.field.kind === 'number') {
    if (filter.low === undefined && filter.high === undefined) return true
    return typeof value === 'number' && value >= (filter.low ?? -Infinity) && value <= (filter.high ?? Infinity)
  }
  return !filter.words?.size || filter.words.has(word(value))
}

export interface Sorting {
  column: string
  down: boolean
}

// Places of the patients that pass, in order. Unknown values come last, whichever way it goes.
export function chosen(count: number, filters: Filter[], columns: Map<string, Value[]>, matches: (place: number) => boolean, sorting: Sorting): number[] {
  const live = filters.filter((filter) => columns.has(filter.field.name))
  const found: number[] = []
  for (let place = 0; place < count; place++) {
    if (matches(place) && live.every((filter) => passes(filter, columns.get(filter.field.name)![place] ?? null))) found.push(place)
  }
  const by = columns.get(sorting.column)
  if (!by) return sorting.down ? found.reverse() : found
  const sign = sorting.down ? -1 : 1
  return found.sort((a, b) => {
    const [x, y] = [by[a] ?? null, by[b] ?? null]
    if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1
    return x === y ? a - b : x < y ? -sign : sign
  })
}
