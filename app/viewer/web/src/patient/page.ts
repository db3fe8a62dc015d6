import type { Api } from '../api'
import { h, put } from '../dom'

export async function mount(element: HTMLElement, { id, api }: { id: string; api: Api }): Promise<() => void> {
  const files = await api.get<string[]>(`/api/patients/${encodeURIComponent(id)}/files`)
  put(element, h('h1', {}, id), h('ul', {}, ...files.map((file) => h('li', {}, file))))
  return () => {}
}
