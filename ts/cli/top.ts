/** `dirtyrate top [TARGET…]`: the dirty rates of all VMs of a host, again and again. */

import { parseChoice, parseCountText } from '../ground/arguments.js'
import { pause } from '../ground/pause.js'
import { listVms } from '../host/vm-list.js'
import { hostPace } from '../server/pace.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { failureOf } from './failure.js'
import type { Size } from './full-screen.js'
import { type Rates, ratesOf } from './rate-unit.js'
import { type KnownVms, vmOf } from './same-vm.js'
import { Fleet, type FleetListener, type FleetTarget } from './serve/fleet.js'
import type { MeasuringOptions } from './serve/options.js'
import { parseSettings, type Settings } from './serve/settings.js'
import type { Session } from './session.js'
import { checkChoice } from './several-targets.js'
import { named } from './table.js'
import { showsBlocks } from './terminal.js'
import { clip, count } from './text.js'
import {
  curveMeasured,
  described,
  measured,
  newRow,
  type Row,
  type Sorting,
  sorted,
  sortings,
  tableOf,
  together,
} from './top/rows.js'
import { type Unreached, vmsOfHost } from './top/vms.js'

export interface TopOptions extends MeasuringOptions {
  unit?: string
  count?: string
  sort: string
}

/** How often the host is looked at for VMs that have come or gone. */
const LOOK_MS = 2000
const DEFAULT_COLUMNS = 80
const HELP = [
  ['q', 'quit'],
  ['s, right', 'sort by the next column: rate, name, memory, vcpus, verdict'],
  ['left', 'sort by the column before'],
  ['up, down', 'scroll'],
  ['p', 'hold the picture; measuring goes on'],
  ['h', 'show or hide this help'],
] as const
/** The column at which what a key does begins. */
const HELP_BEGINS = 10

const helpOf = (columns: number): string[] =>
  HELP.flatMap(([keys, does]) => named(keys, does, HELP_BEGINS, columns))

export async function runTop(
  session: Session,
  given: readonly string[],
  options: TopOptions,
): Promise<number> {
  session.streamDocuments()
  const uris = [...new Set(given)]
  if (uris.length > 0) checkChoice({ uris, all: false })
  const rates = ratesOf(options.unit, session.options.json ? '--json' : undefined)
  const rounds =
    options.count === undefined
      ? Number.POSITIVE_INFINITY
      : parseCountText(options.count, '--count', 1)
  // Without a link there is no verdict, and nobody needs a curve.
  const curveEvery = options.bandwidth === undefined ? 'never' : options.curveEvery
  const parsed = parseSettings(session, { ...options, curveEvery }, uris)
  // A line shows no map of the memory.
  const settings = { ...parsed, plan: { ...parsed.plan, cells: false } }
  const top = new Top(session, { settings, rates, sorting: parseSorting(options.sort) })
  return top.run(uris, rounds)
}

const parseSorting = (text: string): Sorting => parseChoice(text, '--sort', sortings)

class Top {
  readonly #session: Session
  readonly #settings: Settings
  readonly #rates: Rates
  readonly #rows = new Map<string, Row>()
  /** The VMs of this host, where several targets may name one of them. */
  #vms: KnownVms = []
  readonly #stop = new AbortController()
  #sorting: Sorting
  #scroll = 0
  /** The lines that are held while the picture is. */
  #held: readonly Row[] | undefined
  #hasHelp = false
  #redraw = (): void => {}

  constructor(session: Session, { settings, rates, sorting }: TopParts) {
    this.#session = session
    this.#settings = settings
    this.#rates = rates
    this.#sorting = sorting
  }

  async run(uris: readonly string[], rounds: number): Promise<number> {
    const signal = AbortSignal.any([this.#session.signal, this.#stop.signal])
    const fleet = new Fleet(target => this.#listen(target), hostPace, signal)
    const settings = this.#settings
    const isHost = uris.length === 0
    if (uris.length > 1) this.#vms = (await listVms()).vms
    if (isHost) await this.#look(fleet)
    else
      fleet.serve(
        uris.map((uri): FleetTarget => ({ key: uri, uri, label: uri, isNamed: true, settings })),
      )
    const screen = this.#session.fullScreen(
      size => this.#screen(size),
      key => this.#press(key),
    )
    this.#redraw = () => screen?.draw()
    try {
      await Promise.race([
        fleet.ended(),
        Promise.all([
          this.#rounds(rounds, screen === undefined, signal),
          ...(isHost ? [this.#lookAgain(fleet, signal)] : []),
        ]),
      ])
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      this.#stop.abort()
      screen?.close()
      this.#redraw = () => {}
      await fleet.closed()
    }
    if (screen !== undefined) this.#print()
    this.#session.signal.throwIfAborted()
    return [...this.#rows.values()].some(({ hasFailed }) => hasFailed) ? EXIT_FAILED : EXIT_OK
  }

  /** Prints a table in each period where there is no screen, and ends after so many of them. */
  async #rounds(most: number, prints: boolean, signal: AbortSignal): Promise<void> {
    for (let round = 0; round < most; round++) {
      await pause(this.#settings.plan.everyMs, signal)
      // The first windows may take longer, because targets are opened, and not all at once.
      while (round === 0 && [...this.#rows.values()].some(isWaiting)) await pause(50, signal)
      if (prints) this.#print()
      await this.#session.delivered()
    }
    this.#stop.abort()
  }

  async #lookAgain(fleet: Fleet, signal: AbortSignal): Promise<void> {
    for (;;) {
      await pause(LOOK_MS, signal)
      await this.#look(fleet)
      this.#redraw()
    }
  }

  async #look(fleet: Fleet): Promise<void> {
    const { targets, unreached } = await vmsOfHost(this.#settings)
    fleet.serve(targets)
    const keys = new Set([...targets, ...unreached].map(({ key }) => key))
    for (const key of this.#rows.keys()) if (!keys.has(key)) this.#rows.delete(key)
    for (const vm of unreached) this.#cannotReach(vm)
  }

  #cannotReach({ key, label, name, why }: Unreached): void {
    const row = this.#rows.get(key) ?? newRow(label, name)
    Object.assign(row, { note: why, hasFailed: true })
    this.#rows.set(key, row)
  }

  #listen({ key, label, name, uri, settings }: FleetTarget): FleetListener {
    const row = newRow(label, name, vmOf(uri, this.#vms))
    this.#rows.set(key, row)
    const changed = (change: () => void): void => {
      change()
      this.#redraw()
    }
    return {
      described: description => changed(() => described(row, description)),
      followed: () => changed(() => Object.assign(row, { note: 'migrates', hasFailed: false })),
      measured: result => {
        changed(() => measured(row, result))
        this.#session.document(result)
      },
      curveMeasured: async curve => {
        const [link] = settings.links
        if (link !== undefined) changed(() => curveMeasured(row, curve, link))
      },
      curveFailed: () => {},
      failed: (error, retryMs) => {
        const failure = failureOf(error)
        const again = `again in ${Math.ceil(retryMs / 1000)} s`
        const note = `${failure.message}; ${again}`
        changed(() => Object.assign(row, { note, hasFailed: true }))
        this.#session.document({ target: uri, error: failure })
      },
      changed: target => changed(() => Object.assign(row, { name: target.name })),
      gone: () => changed(() => this.#rows.delete(key)),
    }
  }

  #press(key: string): void {
    const step = (by: number): Sorting => {
      const at = (sortings.indexOf(this.#sorting) + by + sortings.length) % sortings.length
      return sortings[at] ?? 'rate'
    }
    if (key === 'q') this.#stop.abort()
    else if (key === 's' || key === 'right') this.#sorting = step(1)
    else if (key === 'left') this.#sorting = step(-1)
    else if (key === 'down') this.#scroll++
    else if (key === 'up') this.#scroll = Math.max(0, this.#scroll - 1)
    else if (key === 'h') this.#hasHelp = !this.#hasHelp
    else if (key === 'p')
      this.#held =
        this.#held === undefined
          ? [...this.#rows.values()].map(row => ({ ...row, rates: [...row.rates] }))
          : undefined
    this.#redraw()
  }

  #screen({ columns, rows: height }: Size): string[] {
    const rows = this.#held ?? [...this.#rows.values()]
    const { vms, bytesPerSecond } = together(rows)
    const held = this.#held === undefined ? '' : '  held: p goes on'
    const rate = this.#rates.rate(bytesPerSecond)
    const title = `${count(vms)} VM${vms === 1 ? '' : 's'}, together ${rate}  by ${this.#sorting}${held}`
    const help = this.#hasHelp ? helpOf(columns) : ['q: quit  s: sort  p: hold  h: help']
    const [titles = 'No virtual machine was found on this host.', ...lines] = this.#table(columns)
    const room = Math.max(1, height - 4 - help.length)
    this.#scroll = Math.min(this.#scroll, Math.max(0, lines.length - room))
    const shown = lines.slice(this.#scroll, this.#scroll + room)
    const more = lines.length - shown.length
    return [
      title,
      '',
      titles,
      ...shown,
      more > 0 ? `${count(more)} more lines: scroll by up and down` : '',
      ...help,
    ].map(line => clip(line, columns))
  }

  #table(width: number): string[] {
    const rows = sorted(this.#held ?? [...this.#rows.values()], this.#sorting)
    const verdicts = this.#settings.links.length > 0
    return tableOf(rows, { rates: this.#rates, bars: showsBlocks(), verdicts, width })
  }

  #print(): void {
    this.#held = undefined
    for (const line of this.#table(this.#session.columns ?? DEFAULT_COLUMNS * 2))
      this.#session.print(line)
    this.#session.print()
  }
}

interface TopParts {
  readonly settings: Settings
  readonly rates: Rates
  readonly sorting: Sorting
}

const isWaiting = ({ last, hasFailed, note }: Row): boolean =>
  last === undefined && !hasFailed && note !== 'migrates'
