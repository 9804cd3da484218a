/**
 * Who may ask what. A web page of somebody else, in the browser of a user of this host, must not
 * get an answer: neither by its own requests (Origin), nor by a name of its own that it lets point
 * to this host (Host, against DNS rebinding).
 */

import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { Token } from './token.js'

/** An answer that says why a request is refused. */
export interface Refusal {
  readonly status: number
  /** One sentence, which has nothing of the request in it. */
  readonly reason: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface AccessRules {
  /** The names by which this host may be asked, in lower case, beside its addresses. */
  readonly hostNames: readonly string[]
  /** Undefined if anybody may ask who reaches the address. */
  readonly token: Token | undefined
}

/** The parts of a request that decide. */
export type RequestHead = Pick<IncomingMessage, 'method' | 'url' | 'headers' | 'headersDistinct'>

const METHODS = 'GET, HEAD'
/** What decides about a request. A proxy could take another one of two values than this server. */
const ONCE = ['host', 'origin', 'authorization'] as const

/** Why the request is refused; undefined if it is allowed. Anybody may ask for what `isPublic`. */
export function refusalOf(
  head: RequestHead,
  rules: AccessRules,
  isPublic = false,
): Refusal | undefined {
  const { method = '', headers } = head
  const refusal = refusalOfSite(head, rules)
  if (refusal !== undefined) return refusal
  if (!isPublic && !hasToken(head, rules)) return NO_TOKEN
  if (method !== 'GET' && method !== 'HEAD')
    return { status: 405, reason: 'Only GET and HEAD are answered.', headers: { Allow: METHODS } }
  const { 'content-length': length = '0', 'transfer-encoding': encoding } = headers
  if (encoding !== undefined || Number(length) !== 0)
    return { status: 413, reason: 'A request may not have a body.' }
  return undefined
}

/**
 * Why a WebSocket is refused; undefined if it is allowed. Browsers let every page open a WebSocket
 * to every host, and only the header Origin says which page it is. So it has to be there.
 */
export function socketRefusalOf(
  head: RequestHead,
  rules: AccessRules,
  hasTicket: () => boolean,
): Refusal | undefined {
  const refusal = refusalOfSite(head, rules)
  if (refusal !== undefined) return refusal
  if (head.headers.origin === undefined)
    return { status: 403, reason: 'A WebSocket needs the header Origin, with this origin.' }
  return hasToken(head, rules) || hasTicket() ? undefined : NO_TOKEN
}

const NO_TOKEN: Refusal = {
  status: 401,
  reason: 'The request needs the token: Authorization: Bearer TOKEN.',
  headers: { 'WWW-Authenticate': 'Bearer' },
}

/** Why nobody may ask from there, whatever is asked. */
function refusalOfSite(
  { url = '/', headers, headersDistinct }: RequestHead,
  { hostNames }: AccessRules,
): Refusal | undefined {
  if (ONCE.some(name => (headersDistinct[name]?.length ?? 0) > 1))
    return { status: 400, reason: 'Host, Origin and Authorization may be there once only.' }
  if (/^[a-z][a-z0-9+.-]*:/i.test(url))
    return { status: 400, reason: 'This server is no proxy: ask for a path, such as /metrics.' }
  if (headers.host === undefined)
    return { status: 400, reason: 'The request needs the header Host, with the name of this host.' }
  const host = hostOf(headers.host)
  if (host === undefined || (isIP(host.name) === 0 && !hostNames.includes(host.name))) {
    return {
      status: 421,
      reason: 'This server is not known by the name in the header Host. See --allow-host.',
    }
  }
  if (headers.origin !== undefined && originOf(headers.origin) !== host.authority)
    return { status: 403, reason: 'A page of another origin may not ask.' }
  return undefined
}

function hasToken({ headers }: RequestHead, { token }: AccessRules): boolean {
  return token === undefined || token.isIn(headers.authorization)
}

/** The name, or the address without its brackets, and both with the port as they were sent. */
function hostOf(header: string | undefined): { name: string; authority: string } | undefined {
  const [authority, bracketed, plain] =
    /^(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::[0-9]{1,5})?$/.exec((header ?? '').toLowerCase()) ??
    []
  if (authority === undefined) return undefined
  // A name may end with the point of the root.
  return { name: bracketed ?? (plain ?? '').replace(/\.$/, ''), authority }
}

/** The authority of an origin; undefined for `null` and for what is none. */
function originOf(origin: string): string | undefined {
  return /^https?:\/\/([^/]+)$/.exec(origin.toLowerCase())?.[1]
}
