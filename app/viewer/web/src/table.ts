// A table of any length: only the rows in view, and a few around them, are elements.
import { h } from './dom'

export interface Column {
  key: string
  label: string
  sortable: boolean
  className?: string
  cell: (place: number) => Node | string
}

const AROUND = 8 // rows above and below the view
const TALL = 0.7 // of the window, at most, as in style.css
const STILL = 90 // ms without scrolling, after which pictures are asked for

export class VirtualTable {
  readonly element: HTMLElement
  private readonly head = h('tr')
  private readonly above = h('tr', { className: 'space', 'aria-hidden': 'true' }, h('td'))
  private readonly below = h('tr', { className: 'space', 'aria-hidden': 'true' }, h('td'))
  private readonly body = h('tbody', {}, this.above, this.below)
  private readonly table: HTMLTableElement
  private readonly rows = new Map<number, HTMLTableRowElement>()
  private columns: Column[] = []
  private places: number[] = []
  private frame = 0
  private still = 0
  private held: number | undefined // the place of the row that has the focus, while rows are made anew

  constructor(private readonly rowHeight: number, label: string, private readonly sort: (key: string) => void, private readonly open: (place: number) => void) {
    this.table = h('table', { 'aria-label': label }, h('thead', {}, this.head), this.body)
    this.element = h('div', { className: 'tablebox', tabIndex: 0, role: 'region', 'aria-label': label, onscroll: () => this.later() }, this.table)
  }

  setColumns(columns: Column[], sorted: string, down: boolean): void {
    this.columns = columns
    const focused = this.head.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset.key : undefined
    this.head.replaceChildren(
      ...columns.map((column) => {
        const here = column.key === sorted
        const arrow = here ? (down ? ' ↓' : ' ↑') : ''
        const content = column.sortable
          ? h('button', { type: 'button', 'data-key': column.key, onclick: () => this.sort(column.key) }, column.label, h('span', { 'aria-hidden': 'true' }, arrow))
          : h('span', {}, column.label)
        return h('th', { scope: 'col', className: column.className, 'aria-sort': here ? (down ? 'descending' : 'ascending') : undefined }, content)
      }),
    )
    if (focused !== undefined) this.head.querySelector<HTMLElement>(`button[data-key="${CSS.escape(focused)}"]`)?.focus()
    for (const space of [this.above, this.below]) (space.firstChild as HTMLTableCellElement).colSpan = columns.length
    this.clear()
  }

  setPlaces(places: number[]): void {
    this.clear()
    this.places = places
    this.table.setAttribute('aria-rowcount', String(places.length + 1))
    this.element.scrollTop = 0
    this.draw()
    const row = this.held === undefined ? undefined : this.rows.get(places.indexOf(this.held))
    row?.querySelector('a')?.focus()
    this.held = undefined
  }

  destroy(): void {
    cancelAnimationFrame(this.frame)
    clearTimeout(this.still)
  }

  get scroll(): number {
    return this.element.scrollTop
  }

  set scroll(to: number) {
    this.element.scrollTop = to
    this.draw()
  }

  private later(): void {
    cancelAnimationFrame(this.frame)
    this.frame = requestAnimationFrame(() => this.draw())
  }

  private clear(): void {
    for (const [number, row] of this.rows) {
      if (row.contains(document.activeElement)) this.held = this.places[number]
      row.remove()
    }
    this.rows.clear()
  }

  draw(): void {
    const first = Math.max(0, Math.floor(this.element.scrollTop / this.rowHeight) - AROUND)
    const last = Math.min(this.places.length, Math.ceil((this.element.scrollTop + Math.max(this.element.clientHeight, TALL * innerHeight)) / this.rowHeight) + AROUND)
    for (const [number, row] of this.rows) {
      if (number < first || number >= last) {
        row.remove()
        this.rows.delete(number)
      }
    }
    let after: Element = this.above
    for (let number = first; number < last; number++) {
      let row = this.rows.get(number)
      if (!row) {
        row = this.row(number)
        this.rows.set(number, row)
        after.after(row)
      }
      after = row
    }
    this.above.style.height = `${first * this.rowHeight}px`
    this.below.style.height = `${(this.places.length - last) * this.rowHeight}px`
    clearTimeout(this.still)
    this.still = window.setTimeout(() => this.pictures(), STILL)
  }

  private row(number: number): HTMLTableRowElement {
    const place = this.places[number]!
    const row = h('tr', { 'aria-rowindex': number + 2, className: 'patient' }, ...this.columns.map((column) => h('td', { className: column.className }, column.cell(place))))
    row.addEventListener('click', (event) => {
      if (!(event.target as Element).closest('a') && !getSelection()?.toString()) this.open(place)
    })
    return row
  }

  private pictures(): void {
    for (const picture of this.body.querySelectorAll<HTMLImageElement>('img[data-src]')) {
      picture.src = picture.dataset.src!
      picture.removeAttribute('data-src')
    }
  }
}
