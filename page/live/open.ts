/** Opens the WebSocket of a live view, with a ticket that stands for the token. */

import { canBeToken } from './token.js'

export async function openLive(
  after: number,
  run: string | undefined,
  token: string | undefined,
): Promise<WebSocket | 'token'> {
  if (token !== undefined && !canBeToken(token)) return 'token'
  const headers: Record<string, string> =
    token === undefined ? {} : { Authorization: `Bearer ${token}` }
  const answer = await fetch('ticket', { headers })
  if (answer.status === 401) return 'token'
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`)
  const { ticket } = (await answer.json()) as { ticket: string }
  const url = new URL('live', location.href)
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
  url.hash = ''
  url.search = ''
  url.searchParams.set('ticket', ticket)
  if (run !== undefined) {
    url.searchParams.set('run', run)
    url.searchParams.set('after', String(after))
  }
  return new WebSocket(url)
}
