/** The live view of `serve`: what its pages hear, and how they connect. */

import { randomUUID } from 'node:crypto'
import manifest from '../../../package.json' with { type: 'json' }
import type { DashboardEvent } from '../../dashboard/events.js'
import { History } from '../../dashboard/history.js'
import { Hub } from '../../dashboard/hub.js'
import type { AccessRules } from '../../server/access.js'
import type { Route } from '../../server/http.js'
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

/** Where the events go too. */
export interface Recorder {
  add(event: DashboardEvent): void
}

export class Dashboard {
  readonly #hub: Hub
  readonly #recorder: Recorder | undefined
  readonly #served: Served

  constructor(served: Served, recorder?: Recorder) {
    this.#served = served
    this.#recorder = recorder
    const about = { version: manifest.version, run: randomUUID(), source: 'live' } as const
    this.#hub = new Hub(new History(), about, () => served.targets())
  }

  /** Hears of a target. */
  listenTo(target: FleetTarget): FleetListener {
    return publishing(target, event => {
      this.#hub.publish(event)
      this.#recorder?.add(event)
    })
  }

  /** What is answered beside the metrics, and the WebSockets. */
  get connecting(): Connecting {
    return connecting(this.#hub, target => this.#served.measureCurve(target))
  }
}

/** How pages connect. */
export interface Connecting {
  readonly routes: readonly (readonly [path: string, route: Route])[]
  upgrades(access: AccessRules): LiveSockets
}

/** Lets pages watch a hub. `measureCurve` throws if no curve is measured. */
export function connecting(hub: Hub, measureCurve: (target: string) => void): Connecting {
  const tickets = new Tickets()
  const ticket = (): string => JSON.stringify({ ticket: tickets.issue(), expiresMs: TICKET_MS })
  return {
    routes: [['/ticket', { answer: () => ({ contentType: JSON_TYPE, body: ticket() }) }]],
    upgrades: access => new LiveSockets(LIVE_PATH, access, tickets, feedOf(hub, measureCurve)),
  }
}
