/** What `serve` says as soon as it can be asked: where the page and the metrics are. */

import type { ListenAddress } from '../../server/address.js'
import type { Session } from '../session.js'

/** A server that listens. */
export interface Announced {
  /** What is served, as a sentence without its end. */
  readonly what: string
  /** The URL of its root, without a slash at the end. */
  readonly url: string
  readonly listen: ListenAddress
  readonly needsToken: boolean
  /** A recording has no metrics of any target. */
  readonly hasMetrics: boolean
}

/** The addresses that stand for all addresses of a host. Nobody can connect to them elsewhere. */
const ANY = /^[0:.]+$/

export function announce(
  session: Session,
  { what, url, listen, needsToken, hasMetrics }: Announced,
): void {
  session.note(`${what}, until interrupted.`)
  session.note(`Page:    ${url}/`)
  if (hasMetrics) session.note(`Metrics: ${url}/metrics`)
  if (ANY.test(listen.address)) {
    session.note(
      `${listen.address} stands for all addresses of this host. From another host, use one of them, or the name of this host.`,
    )
  }
  if (needsToken) {
    session.note(
      hasMetrics
        ? 'The page asks for the token. A program sends it: Authorization: Bearer TOKEN.'
        : 'The page asks for the token.',
    )
  }
}
