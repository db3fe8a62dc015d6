import './style.css'
import { api } from './api'
import { h, replace } from './dom'
import { start, type Place } from './router'

const THEME = 'polyclinic-theme'
const themes = ['auto', 'light', 'dark'] as const
type Theme = (typeof themes)[number]

function theme(): Theme {
  const kept = localStorage.getItem(THEME) as Theme | null
  return kept && themes.includes(kept) ? kept : 'auto'
}

function wear(chosen: Theme): void {
  localStorage.setItem(THEME, chosen)
  if (chosen === 'auto') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = chosen
}

async function head(): Promise<void> {
  const session = await api.session()
  const links: [string, string, boolean][] = [
    ['', 'Cohort', session.cohort],
    ['compare', 'Compare', session.compare],
    ['report', 'Report', session.cohort],
    ['ward', 'Ward', true],
    ['generate', 'Generate', session.generate],
  ]
  const colours = h('button', { type: 'button', className: 'plain', id: 'theme' })
  const show = () => {
    colours.textContent = { auto: '◐', light: '☀', dark: '☾' }[theme()]
    colours.title = `Colours: ${theme()}`
    colours.setAttribute('aria-label', `Colours: ${theme()}; change`)
  }
  colours.addEventListener('click', () => {
    wear(themes[(themes.indexOf(theme()) + 1) % themes.length]!)
    show()
  })
  show()
  replace(
    document.getElementById('head')!,
    h('a', { href: '#/', className: 'brand' }, 'Polyclinic'),
    h('nav', { 'aria-label': 'Pages' }, ...links.filter(([, , there]) => there).map(([name, label]) => h('a', { href: `#/${name}`, 'data-page': name }, label))),
    h('span', { className: 'synthetic', title: 'No real person is shown' }, 'synthetic'),
    colours,
  )
}

function shown(at: Place): void {
  for (const link of document.querySelectorAll<HTMLElement>('#head nav a')) {
    const here = link.dataset.page === at.name || (at.name === 'patient' && link.dataset.page === '')
    if (here) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  document.title = at.argument ? `${at.argument} · Polyclinic` : 'Polyclinic'
}

function failed(error: Error): Node {
  return h('p', { className: 'failed', role: 'alert' }, error.message)
}

wear(theme())
document.getElementById('skip')!.addEventListener('click', (event) => {
  event.preventDefault() // the address after # is the page's
  document.getElementById('main')!.focus()
})
head()
  .then(async () => {
    const session = await api.session()
    start(
      {
        '': async (element) => (session.cohort ? (await import('./cohort')).mount(element) : (location.replace('#/ward'), undefined)),
        patient: async (element, id) => (await import('./patient/page')).mount(element, { id, api }),
        report: async (element) => (await import('./report')).mount(element),
        compare: async (element, job) => (await import('./compare')).mount(element, job),
        ward: async (element) => (await import('./ward')).mount(element),
        generate: async (element) => (await import('./generate')).mount(element),
      },
      shown,
      failed,
    )
  })
  .catch((error: Error) => replace(document.getElementById('main')!, failed(error)))
