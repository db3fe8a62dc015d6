// h(): an element with its attributes, listeners and children. Text is text: nothing here reads HTML.
type Child = Node | string | number | null | undefined | false
type Props = Record<string, unknown>

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), props, children)
}

const SVG = 'http://www.w3.org/2000/svg'

export function svg(tag: string, props: Props = {}, ...children: Child[]): SVGElement {
  return fill(document.createElementNS(SVG, tag) as SVGElement, props, children)
}

function fill<E extends HTMLElement | SVGElement>(element: E, props: Props, children: Child[]): E {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value as EventListener)
    else if (name in element && !(element instanceof SVGElement) && !name.includes('-') && name !== 'list' && name !== 'style')
      (element as unknown as Props)[name] = value
    else element.setAttribute(name, value === true ? '' : String(value))
  }
  put(element, ...children)
  return element
}

export function put(element: Element, ...children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue
    element.append(child instanceof Node ? child : String(child))
  }
}

export function replace(element: Element, ...children: Child[]): void {
  element.replaceChildren()
  put(element, ...children)
}

// what a screen reader says without the focus moving
export function say(text: string): void {
  const place = document.getElementById('said')
  if (place) place.textContent = text
}

let last = 0
export function uid(stem: string): string {
  last += 1
  return `${stem}-${last}`
}
