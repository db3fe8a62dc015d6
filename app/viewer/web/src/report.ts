// The report in its frame, and certificate, journal and ledger as tables.
import { api } from './api'
import { h, replace } from './dom'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
interface Papers {
  report: boolean
  certificate: Json
  journal: { [key: string]: Json }[] | null
  ledger: { [key: string]: Json }[] | null
}

export async function mount(element: HTMLElement): Promise<void> {
  const papers = await api.get<Papers>('/api/papers')
  const parts: [string, string, () => Node][] = [
    ['report', 'Report', () => (papers.report ? h('iframe', { title: 'Report', src: '/api/report', sandbox: '', className: 'report' }) : missing('No report.html is in this cohort.', 'polyclinic evaluate COHORT --reference DATA --out COHORT'))],
    ['certificate', 'Certificate', () => (papers.certificate ? tree(papers.certificate) : missing('This cohort has no certificate: nobody has released it.', 'polyclinic release COHORT --policy NAME --key KEY --reference DATA'))],
    ['journal', 'Journal', () => (papers.journal ? rows(papers.journal) : missing('The journal is empty: nobody has measured, judged or approved this cohort for a release.', ''))],
    ['ledger', 'Ledger', () => (papers.ledger ? rows(papers.ledger) : missing('No ledger was named. It says what the training of private weights has spent.', 'polyclinic view COHORT --ledger ledger.jsonl'))],
  ]
  const panel = h('div', { role: 'tabpanel', id: 'paper', tabIndex: 0 })
  const tabs = parts.map(([key, label], place) => h('button', { type: 'button', role: 'tab', className: 'tab', id: `tab-${key}`, 'aria-controls': 'paper', onclick: () => open(place), onkeydown: (event: Event) => move(event as KeyboardEvent, place) }, label))

  function open(place: number): void {
    tabs.forEach((tab, other) => {
      tab.setAttribute('aria-selected', String(other === place))
      tab.tabIndex = other === place ? 0 : -1
    })
    panel.setAttribute('aria-labelledby', tabs[place]!.id)
    replace(panel, parts[place]![2]())
  }

  function move(event: KeyboardEvent, place: number): void {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (!step) return
    const next = (place + step + tabs.length) % tabs.length
    open(next)
    tabs[next]!.focus()
  }

  replace(element, h('h1', {}, 'Report and papers'), h('div', { role: 'tablist', 'aria-label': 'Papers', className: 'tabs' }, ...tabs), panel)
  open(0)
}

function missing(text: string, command: string): HTMLElement {
  return h('div', { className: 'note' }, h('p', {}, text), command ? h('pre', {}, command) : null)
}

function tree(value: Json): HTMLElement {
  if (value === null || typeof value !== 'object') return h('span', { className: value === true ? 'good' : value === false ? 'bad' : '' }, text(value))
  if (Array.isArray(value)) {
    if (value.every((one) => one === null || typeof one !== 'object')) return h('span', {}, value.map(text).join(', ') || '–')
    return h('ol', { className: 'tree' }, ...value.map((one) => h('li', {}, tree(one))))
  }
  return h('dl', { className: 'tree' }, ...Object.entries(value).flatMap(([key, own]) => [h('dt', {}, key.replaceAll('_', ' ')), h('dd', {}, tree(own))]))
}

function text(value: Json): string {
  return value === null ? '–' : value === true ? 'yes' : value === false ? 'no' : String(value)
}

const LONG = new Set(['signatures', 'previous', 'hash', 'people', 'subject'])

function rows(lines: { [key: string]: Json }[]): HTMLElement {
  const keys = [...new Set(lines.flatMap((line) => Object.keys(line)))].filter((key) => !LONG.has(key))
  return h(
    'div', { className: 'tablebox papers', tabIndex: 0, role: 'region', 'aria-label': 'Lines' },
    h('table', {}, h('thead', {}, h('tr', {}, ...keys.map((key) => h('th', { scope: 'col' }, h('span', {}, key.replaceAll('_', ' ')))))), h('tbody', {}, ...lines.map((line) => h('tr', {}, ...keys.map((key) => h('td', {}, line[key] === undefined ? '' : tree(line[key] ?? null))))))),
  )
}
