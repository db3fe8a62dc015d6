// Fields of patients as the server describes them, and how their values are written.
export interface Field {
  name: string
  label: string
  kind: 'flag' | 'category' | 'number'
  unit: string
  codes: Record<string, string>
  unknown: number
  counts: number[]
  classes?: string[]
  edges?: number[]
  mean?: number | null
  sd?: number | null
}

export type Value = number | string | boolean | null

export interface Overview {
  name: string
  title: string
  folder: string
  patients: number
  seed: number
  modalities: { name: string; indication: string; with_record: number }[]
  weights: string[]
  software: Record<string, string>
  watermark: boolean
  fields: Field[]
  documents: string[]
}

const SEXES: Record<string, string> = { F: 'female', M: 'male' }

export function written(field: Pick<Field, 'name' | 'kind'>, value: Value): string {
  if (value === null) return 'unknown'
  if (field.name === 'sex') return SEXES[String(value)] ?? String(value)
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (field.name === 'age' && typeof value === 'number') return value.toFixed(1)
  return typeof value === 'number' ? number(value) : value
}

export function number(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return String(Number(value.toFixed(digits)))
}

export function thousands(value: number): string {
  return value.toLocaleString('en')
}

const UNITS: Record<string, string> = { a: 'years', Cel: '°C', 'mm[Hg]': 'mmHg', '10*3/uL': '10³/µL', '{beats}/min': '/min' }

// A unit as people write it, of one in UCUM.
export function unit(ucum: string): string {
  return UNITS[ucum] ?? ucum
}

// what a field is called where one may choose it: its label, and the code it is known by
export function called(field: Pick<Field, 'name' | 'label'>): string {
  const label = field.label.charAt(0).toUpperCase() + field.label.slice(1)
  return field.label.toLowerCase() === field.name.toLowerCase().replaceAll('_', ' ') ? label : `${label} (${field.name})`
}
