// Pages by the part of the address after #. A page is mounted into the main element and gives back how to leave it.
export type Unmount = () => void
export type Page = (element: HTMLElement, argument: string) => Promise<Unmount | void> | Unmount | void

export interface Place {
  name: string
  argument: string
}

export function place(hash: string): Place {
  const [name = '', ...rest] = hash.replace(/^#\/?/, '').split('/')
  return { name, argument: decodeURIComponent(rest.join('/')) }
}

export function start(pages: Record<string, Page>, shown: (at: Place) => void, failed: (error: Error) => Node): void {
  const main = document.getElementById('main') as HTMLElement
  let leave: Unmount | void
  let turn = 0
  async function go(first = false): Promise<void> {
    const mine = ++turn
    const at = place(location.hash)
    leave?.()
    leave = undefined
    const home = document.createElement('div')
    home.className = `page page-${at.name || 'cohort'}`
    main.replaceChildren(home)
    shown(at)
    scrollTo(0, 0)
    if (!first) main.focus({ preventScroll: true })
    try {
      const page = pages[at.name]
      if (!page) throw new Error(`There is no page “${at.name.slice(0, 80)}” here; choose one above.`)
      const unmount = await page(home, at.argument)
      if (mine === turn) leave = unmount
      else unmount?.() // left before it was there
    } catch (error) {
      if (mine === turn) home.replaceChildren(failed(error as Error))
    }
    home.dataset.ready = 'true'
  }
  addEventListener('hashchange', () => void go())
  void go(true)
}
