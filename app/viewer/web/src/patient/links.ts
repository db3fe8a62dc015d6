// What links these: subjects on which several files speak, and whether they agree.
import { h, put } from '../dom'
import type { Page } from './types'

interface Subject {
  subject: string
  agrees: boolean
  compared: number
  statements: { source: string; value: string; certain: boolean; agrees: boolean }[]
}

export async function linksOf(place: HTMLElement, page: Page): Promise<void> {
  const { subjects } = await page.get<{ subjects: Subject[] }>('/links')
  const compared = subjects.filter((one) => one.compared > 1)
  const broken = compared.filter((one) => !one.agrees)
  put(
    place,
    h('p', { className: broken.length ? 'bad' : 'good', 'data-agree': String(compared.length - broken.length) },
      broken.length ? `Files contradict each other on ${broken.length} of ${compared.length} subjects.` : `All files agree on all ${compared.length} subjects.`),
    h('p', { className: 'note' }, 'Read from the files themselves. Statements in italics show the subject only as a rule: a mean over a day, or a guess from ten seconds. They may differ without a fault.'),
    h('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Statements of the files' },
      h('table', { className: 'tests linked' },
        h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'subject'), h('th', { scope: 'col' }, 'agree'), h('th', { scope: 'col' }, 'who says what'))),
        h('tbody', {}, ...subjects.map(row)))),
  )
}

function row(one: Subject): HTMLElement {
  const values = new Map<string, Subject['statements']>()
  for (const said of one.statements) {
    const key = `${said.value}|${said.certain}|${said.agrees}`
    values.set(key, [...(values.get(key) ?? []), said])
  }
  const said = [...values.values()].map((group) => {
    const [first] = group as [Subject['statements'][number]]
    const text = first.value.replace(/(2\.25\.\d{6})\d+/g, '$1…')
    const body = [h('strong', {}, text), h('span', { className: 'note' }, ` ${group.map((each) => each.source).join(', ')}`), !first.agrees && h('span', { className: first.certain ? 'bad' : 'warned' }, first.certain ? ' contradicts' : ' differs')]
    return h('li', { title: first.value }, ...(first.certain ? body : [h('em', {}, ...body)]))
  })
  const word = one.compared < 2 ? 'not compared' : one.agrees ? '✓ yes' : '✗ no'
  return h('tr', { 'data-subject': one.subject }, h('th', { scope: 'row' }, one.subject), h('td', { className: one.compared < 2 ? 'note' : one.agrees ? 'good' : 'bad' }, word), h('td', {}, h('ul', { className: 'earlier' }, ...said)))
}
