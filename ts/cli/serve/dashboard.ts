/** The live view of `serve`: what its pages hear, and how they connect. */

import { randomUUID } from 'node:crypto'
import manifest from '../../../package.json' with { type: 'json' }
import { History } from '../../dashboard/history.js'
import { Hub } from '../../dashboard/hub.js'
import type { AccessRules } from '../../server/access.js'
import type { Route, Upgrades } from '../../server/http.js'
import { LiveSockets } from '../../server/live-sockets.js'
import { TICKET_MS, Tickets } from '../../server/tickets.js'
import { publishing } from './events.js'
import { feedOf } from './feed.js'
import type { FleetListener, FleetTarget } from './fleet.js'

const JSON_TYPE = 'application/json; charset=utf-8'
/** Where live views connect. */
const LIVE_PATH = '/live'

/** What the dashboard has to know of the targets. */
export interface Served {
  /** The URIs of those that are served now. */
  targets(): readonly string[]
  /** Measures a curve soon. Throws if that is not possible. */
  measureCurve(target: string): void
}

export class Dashboard {
  readonly #hub: Hub
  readonly #served: Served
  readonly #tickets = new Tickets()

  constructor(served: Served) {
    this.#served = served
    const about = { version: manifest.version, run: randomUUID(), source: 'live' } as const
    this.#hub = new Hub(new History(), about, () => served.targets())
  }

  /** Hears of a target. */
  listenTo(target: FleetTarget): FleetListener {
    return publishing(target, event => this.#hub.publish(event))
  }

  /** What is answered beside the metrics. */
  get routes(): [path: string, route: Route][] {
    const ticket = (): string =>
      JSON.stringify({ ticket: this.#tickets.issue(), expiresMs: TICKET_MS })
    return [['/ticket', { answer: () => ({ contentType: JSON_TYPE, body: ticket() }) }]]
  }

  upgrades(access: AccessRules): Upgrades {
    const feed = feedOf(this.#hub, target => this.#served.measureCurve(target))
    return new LiveSockets(LIVE_PATH, access, this.#tickets, feed)
  }
}
