/**
 * Serves a whole host by a configuration: looks for its VMs again and again, and reads the file
 * again when it is told to. What goes on is not disturbed by either.
 */

import { performance } from 'node:perf_hooks'
import { argumentError } from '../../ground/errors.js'
import { pause } from '../../ground/pause.js'
import { discover, withoutTwice } from '../../host/discovery/discover.js'
import { mayGoOn } from '../../host/discovery/processes.js'
import type { FoundVm } from '../../host/discovery/sources.js'
import type { Sample } from '../../metrics/families.js'
import { labelOf } from '../../metrics/labels.js'
import type { Budget } from '../../server/budget.js'
import type { Certificate } from '../../server/http.js'
import type { Token } from '../../server/token.js'
import { failureOf } from '../failure.js'
import type { Session } from '../session.js'
import { visible } from '../text.js'
import { readTokenFile } from './access.js'
import { type CommandLine, type Config, readConfig } from './config/config.js'
import { changedServerKey } from './config/keys.js'
import type { Fleet, FleetTarget } from './fleet.js'
import type { Hangups } from './hangups.js'
import { readCertificate } from './tls.js'

/** So many names are told at once. */
const MOST_NAMES = 10
const MS_PER_SECOND = 1000

/** What is known of a source. */
interface SourceState {
  found: readonly FoundVm[]
  /** The code of the error with which it failed last. */
  failure: string | undefined
  /** How many of its VMs are served, and belong to no source before it. */
  targets: number
}

export { readConfig }

/** What of a server can be renewed while it runs. */
export interface Renewable {
  setCertificate(certificate: Certificate): void
  setToken(token: Token): void
}

export class HostServing {
  readonly #session: Session
  readonly #line: CommandLine
  readonly #fleet: Fleet
  readonly #budget: Budget
  readonly #hangups: Hangups
  #config: Config
  /** By the label of each source. */
  #sources = new Map<string, SourceState>()
  /** What the targets that are named have in common with others of their VMs. */
  #taken: readonly (string | undefined)[] = []
  #leftOut = 0
  #isReloaded = true
  #reloadedAt = Date.now()
  /** Reloads come one after the other. */
  #reloading: Promise<void> = Promise.resolve()
  #isFirst = true
  /** Whether the next look must not wait. */
  #isDue = false
  #endWait = (): void => {}

  constructor(session: Session, { line, config, fleet, budget, hangups }: HostServingParts) {
    this.#session = session
    this.#line = line
    this.#fleet = fleet
    this.#budget = budget
    this.#hangups = hangups
    this.#config = config
  }

  /** Serves until `signal` is aborted. `server` gets what was renewed. */
  async run(server: Renewable, signal: AbortSignal): Promise<void> {
    this.#hangups.listen(() => {
      this.#reloading = this.#reloading.then(() => this.#reload(server))
    })
    this.#serve()
    this.#isFirst = false
    try {
      for (;;) {
        const begun = performance.now()
        await this.#look(signal)
        await this.#untilNext(begun, signal)
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  /** What of it belongs to no target. */
  *samples(): Generator<Sample, void, undefined> {
    const of = (name: Sample['name'], value: number, labels = {}): Sample => ({
      name,
      labels,
      value,
    })
    yield of('dirtyrate_config_last_reload_successful', Number(this.#isReloaded))
    yield of(
      'dirtyrate_config_last_reload_success_timestamp_seconds',
      this.#reloadedAt / MS_PER_SECOND,
    )
    yield of('dirtyrate_targets_left_out', this.#leftOut)
    for (const [label, { failure }] of this.#sources) {
      const source = labelOf(label)
      yield of('dirtyrate_discovery_successful', Number(failure === undefined), { source })
    }
    for (const [label, { targets }] of this.#sources)
      yield of('dirtyrate_discovery_targets', targets, { source: labelOf(label) })
  }

  async #reload(server: Renewable): Promise<void> {
    const { file } = this.#line
    const { signal } = this.#session
    try {
      const config = await readConfig(this.#session, this.#line)
      const key = changedServerKey(this.#config.options, config.options)
      if (key !== undefined) {
        config.located(() => {
          throw argumentError(
            `--${key}: it cannot change while the server runs`,
            'Restart the server, or take the change back.',
          )
        })
      }
      const certificate = await config.located(() => readCertificate(config.options, signal))
      const token = await config.located(() => readTokenFile(config.options, signal))
      if (certificate !== undefined) server.setCertificate(certificate)
      if (token !== undefined) server.setToken(token)
      this.#config = config
      this.#budget.change(config.share)
      this.#isReloaded = true
      this.#reloadedAt = Date.now()
      this.#serve()
      this.#isDue = true
      this.#endWait()
      this.#session.note(`${visible(file)} was read again.`)
    } catch (error) {
      if (signal.aborted) return
      this.#isReloaded = false
      const { message, hint } = failureOf(error)
      this.#session.note(`${visible(message)}`)
      this.#session.note(`${visible(hint)} The former configuration stays in force.`)
    }
  }

  /** Looks for VMs once. A source that fails keeps those that it had. */
  async #look(signal: AbortSignal): Promise<void> {
    const { sources, targets } = this.#config
    if (sources.length === 0) return
    const { outcomes, vmOf } = await discover(
      sources.map(({ source }) => source),
      signal,
    )
    // The file may have been read again meanwhile: what was found stays with its source.
    this.#taken = targets.map(({ uri }) => vmOf(uri))
    for (const [at, outcome] of outcomes.entries()) {
      const label = sources[at]?.label ?? ''
      if ('found' in outcome) {
        this.#sources.set(label, { found: outcome.found, failure: undefined, targets: 0 })
        continue
      }
      const { code, message } = failureOf(outcome.error)
      const before = this.#sources.get(label)
      if (before?.failure !== code)
        this.#session.note(`${visible(label)}: the search for VMs fails: ${visible(message)}`)
      const found = (before?.found ?? []).filter(mayGoOn)
      this.#sources.set(label, { found, failure: code, targets: 0 })
    }
    this.#serve()
  }

  /** Gives the fleet the targets that are known now. */
  #serve(): void {
    const { targets, sources, most } = this.#config
    const known = new Set(sources.map(({ label }) => label))
    for (const label of this.#sources.keys()) if (!known.has(label)) this.#sources.delete(label)
    const lists = withoutTwice(
      sources.map(({ label }) => this.#sources.get(label)?.found ?? []),
      this.#taken.filter(vm => vm !== undefined),
    )
    const all = [
      ...targets.map(({ uri, label, settings }): FleetTarget => {
        return { key: `${uri}\n${label}`, uri, label, isNamed: this.#isFirst, settings }
      }),
      ...sources.flatMap(({ settings }, at) =>
        (lists[at] ?? []).map(({ key, uri, name }): FleetTarget => {
          return { key, uri, label: uri, name, isNamed: false, settings }
        }),
      ),
    ]
    const before = new Map(this.#fleet.targets.map(target => [target.key, target]))
    // A target that is served stays, whoever comes.
    const chosen = [
      ...all.filter(({ key }) => before.has(key)),
      ...all.filter(({ key }) => !before.has(key)),
    ].slice(0, most)
    this.#leftOut = all.length - chosen.length
    for (const [at, { label }] of sources.entries()) {
      const state = this.#sources.get(label)
      if (state !== undefined) state.targets = lists[at]?.length ?? 0
    }
    this.#fleet.serve(chosen)
    if (this.#isFirst) return
    const now = new Set(chosen.map(({ key }) => key))
    this.#tell(
      'Measured from now on',
      chosen.filter(({ key }) => !before.has(key)),
    )
    this.#tell(
      'No longer measured',
      [...before.values()].filter(({ key }) => !now.has(key)),
    )
  }

  #tell(what: string, targets: readonly FleetTarget[]): void {
    if (targets.length === 0) return
    const names = targets.slice(0, MOST_NAMES).map(({ label }) => visible(label))
    const more = targets.length - names.length
    this.#session.note(`${what}: ${names.join(', ')}${more > 0 ? `, and ${more} more` : ''}.`)
  }

  async #untilNext(begun: number, signal: AbortSignal): Promise<void> {
    const wait = new AbortController()
    const end = (): void => wait.abort()
    this.#endWait = end
    signal.addEventListener('abort', end, { once: true })
    try {
      if (signal.aborted || this.#isDue) end()
      const left = this.#config.discoverMs - (performance.now() - begun)
      await pause(Math.max(left, 0), wait.signal)
    } catch {
      // The file was read again, or the command ends.
    } finally {
      signal.removeEventListener('abort', end)
      this.#isDue = false
    }
    signal.throwIfAborted()
  }
}

export interface HostServingParts {
  readonly line: CommandLine
  readonly config: Config
  readonly fleet: Fleet
  readonly budget: Budget
  readonly hangups: Hangups
}
