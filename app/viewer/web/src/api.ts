// The server's JSON. A refusal is an Error with the server's one line.
export interface Session {
  session: string
  cohort: boolean
  compare: boolean
  generate: boolean
  ward: boolean
}

let known: Promise<Session> | undefined

async function answer<T>(response: Response): Promise<T> {
  const text = await response.text()
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch {
    throw new Error(response.ok ? 'the server sent no JSON' : text.trim() || `the server answered ${response.status}`)
  }
  if (!response.ok) throw new Error((content as { error?: string }).error ?? `the server answered ${response.status}`)
  return content as T
}

async function asked(path: string, init?: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init)
  } catch {
    throw new Error('the viewer has ended; start polyclinic view again')
  }
}

export const api = {
  session(): Promise<Session> {
    known ??= api.get<Session>('/api/session')
    return known
  },
  async get<T>(path: string): Promise<T> {
    return answer<T>(await asked(path))
  },
  async post<T>(path: string, body: unknown = {}): Promise<T> {
    const { session } = await api.session()
    const headers = { 'content-type': 'application/json', 'x-polyclinic-session': session }
    return answer<T>(await asked(path, { method: 'POST', headers, body: JSON.stringify(body) }))
  },
}

export type Api = typeof api
