/** What an event changes in what the page knows. Pure: the same events give the same state. */

import type { TargetEvent } from '../../ts/dashboard/events.js'
import type { PackedEvent } from '../../ts/dashboard/records.js'
import { visible } from '../../ts/ground/readable.js'
import { runningNs } from '../../ts/results/running-time.js'
import { type CellColumn, layoutOf } from './cells.js'
import { Log } from './log.js'
import type { Gap, GapReason, MeasuredWindow, Notice, PageEvent, State, Vm } from './state.js'
import { GAP_FACTOR, usualDistance } from './usual.js'

type MeasuredEvent = Extract<PackedEvent, { kind: 'measured' }>

/** Ten windows a second for twenty minutes, or one each ten seconds for 33 hours. */
const MOST_MOMENTS = 12_000
const MOST_NOTICES = 256
/** The packed bytes of all columns of one VM, by the size of the newest one. */
const MOST_CELL_BYTES = 32 * 2 ** 20
const FEWEST_COLUMNS = 256
/** So many VMs have as much as one alone. What these have is divided among more of them. */
const VMS_WITH_ALL = 16
/** However many VMs there are, each has so many windows and columns. */
const FEWEST = 32
/** So many VMs that are gone stay on the page. */
const MOST_GONE = 64

export function reduceAll(state: State, events: Iterable<PageEvent>): State {
  const vms = new Map(state.vms)
  let { lastAt, events: count } = state
  for (const event of events) {
    count++
    lastAt = Math.max(lastAt, event.at)
    if (event.kind === 'served') {
      for (const target of event.targets)
        vms.set(target, { ...(vms.get(target) ?? newVm(target)), isGone: false })
      if (event.areAll) endOthers(vms, new Set(event.targets), lastAt)
    } else if (event.kind === 'missed') {
      for (const [target, vm] of vms)
        if (!vm.isGone) vms.set(target, withGap(vm, event.at, 'missed', 'The page missed it.'))
    } else {
      const vm = vms.get(event.target) ?? newVm(event.target)
      vms.set(event.target, reduceVm(vm, event, roomFor(vms.size)))
      if (event.kind === 'gone') forgetGone(vms)
    }
  }
  return { vms, lastAt, events: count }
}

/** How much is kept of one VM. */
interface Room {
  readonly moments: number
  readonly cellBytes: number
  readonly fewestColumns: number
}

function roomFor(vms: number): Room {
  const part = Math.min(VMS_WITH_ALL / vms, 1)
  return {
    moments: Math.max(Math.floor(MOST_MOMENTS * part), FEWEST),
    cellBytes: MOST_CELL_BYTES * part,
    fewestColumns: Math.max(Math.floor(FEWEST_COLUMNS * part), FEWEST),
  }
}

/** The VMs that a server does not have, which was asked for all that it has. */
function endOthers(vms: Map<string, Vm>, served: ReadonlySet<string>, at: number): void {
  for (const [target, vm] of vms) if (!served.has(target)) vms.set(target, gone(vm, at))
  forgetGone(vms)
}

/** Forgets those that have been gone the longest. */
function forgetGone(vms: Map<string, Vm>): void {
  const all = [...vms.values()].filter(({ isGone }) => isGone)
  if (all.length <= MOST_GONE) return
  const goneAt = ({ moments }: Vm): number => moments.at(-1)?.at ?? 0
  const oldest = all.sort((one, other) => goneAt(one) - goneAt(other))
  for (const { target } of oldest.slice(0, all.length - MOST_GONE)) vms.delete(target)
}

function gone(vm: Vm, at: number): Vm {
  if (vm.isGone) return vm
  const text = 'The target is not served any more.'
  return noticed(withGap({ ...vm, isGone: true }, at, 'gone', 'Not served any more.'), { at, text })
}

export function newVm(target: string): Vm {
  return {
    target,
    isGone: false,
    moments: Log.empty(),
    cells: Log.empty(),
    notices: Log.empty(),
  }
}

function reduceVm(vm: Vm, event: PackedEvent, room: Room): Vm {
  switch (event.kind) {
    case 'target':
      return described(vm, event)
    case 'measured':
      return measured(vm, event, room)
    case 'curve':
      return { ...vm, isGone: false, curve: event.curve, curveAt: event.at }
    case 'failed': {
      const { at, code, message: text, hint, retryMs } = event
      const notice = { at, code, text, ...(hint === undefined ? {} : { hint }) }
      const failure = { ...notice, ...(retryMs === undefined ? {} : { retryMs }) }
      // A curve that fails leaves the rounds as they are.
      const failed =
        retryMs === undefined ? vm : withGap({ ...vm, isGone: false, failure }, at, 'failed', text)
      return noticed(failed, notice)
    }
    case 'migrating': {
      const { at, migration } = event
      const followed = { ...vm, isGone: false, migration, migrationAt: at }
      return migration.underWay ? withGap(followed, at, 'migrating', 'The VM migrates.') : followed
    }
    case 'gone':
      return gone(vm, event.at)
  }
}

function described(vm: Vm, event: TargetEvent): Vm {
  const { at, kind: _, name, vcpus, software, ...facts } = event
  const told = {
    ...vm,
    ...facts,
    isGone: false,
    ...(name === undefined ? {} : { name }),
    ...(vcpus === undefined ? {} : { vcpus }),
    ...(software === undefined ? {} : { software }),
  }
  if (facts.state === vm.state) return told
  const isPaused = facts.state === 'paused'
  const changed = isPaused ? withGap(told, at, 'paused', 'The VM is paused.') : told
  const isFirst = vm.state === undefined
  return isFirst
    ? changed
    : noticed(changed, { at, text: `The VM is ${visible(facts.state)} now.` })
}

function measured(vm: Vm, event: MeasuredEvent, room: Room): Vm {
  const { kind, at, windowNs, pausedNs, requestedMs, mode, bytesPerSecond, interval } = event
  const { complete, warnings, pages, pageSize, vcpus, cells } = event
  const last: MeasuredWindow = {
    kind,
    at,
    from: beginOf(vm, event),
    windowNs,
    requestedMs,
    mode,
    bytesPerSecond,
    interval,
    complete,
    warnings,
    ...(pages === undefined ? {} : { pages }),
    ...(pageSize === undefined ? {} : { pageSize }),
    ...(vcpus === undefined ? {} : { vcpus }),
  }
  const { failure: _, migration, ...rest } = vm
  const next: Vm = {
    ...rest,
    // It is measured again, so a migration that was under way has ended.
    ...(migration === undefined || migration.underWay ? {} : { migration }),
    isGone: false,
    last,
    moments: vm.moments.append(last).keep(room.moments),
  }
  // A window in which no memory was mapped has no cells.
  if (cells === undefined || cells.blocks.length === 0) return withWarnings(next, vm.last, last)
  const column: CellColumn = {
    at,
    from: last.from,
    seconds: runningNs(windowNs, pausedNs) / 1e9,
    complete,
    layout: layoutOf(cells, vm.cells.at(-1)?.layout),
    packed: cells,
  }
  return withWarnings({ ...next, cells: appended(vm.cells, column, room) }, vm.last, last)
}

/** The instant from which the figure of a window stands in a chart. */
function beginOf({ moments }: Vm, { at, windowNs }: MeasuredEvent): number {
  const own = at - windowNs / 1e6
  const before = moments.at(-1)
  if (before?.kind !== 'measured') return own
  // The clocks of two windows differ a little.
  if (before.at >= own) return Math.min(before.at, at)
  // The second window of all has nothing to be compared with.
  const usual = usualDistance(moments) ?? at - before.at
  return at - before.at <= GAP_FACTOR * usual ? before.at : own
}

function appended(
  columns: Log<CellColumn>,
  column: CellColumn,
  { moments, cellBytes, fewestColumns }: Room,
): Log<CellColumn> {
  const most = Math.floor(cellBytes / Math.max(column.packed.data.length, 1))
  return columns.append(column).keep(Math.min(Math.max(most, fewestColumns), moments))
}

/** A warning is a notice when it comes, not for as long as it stays. */
function withWarnings(vm: Vm, before: MeasuredWindow | undefined, last: MeasuredWindow): Vm {
  const known = new Set(before?.warnings.map(({ code }) => code))
  return last.warnings
    .filter(({ code }) => !known.has(code))
    .reduce((told, { code, message }) => noticed(told, { at: last.at, code, text: message }), vm)
}

function withGap(vm: Vm, at: number, why: GapReason, text: string): Vm {
  const before = vm.moments.at(-1)
  if (before?.kind === 'gap' && before.why === why) return vm
  const gap: Gap = { kind: 'gap', at, why, text }
  return { ...vm, moments: vm.moments.append(gap).keep(MOST_MOMENTS) }
}

function noticed(vm: Vm, notice: Notice): Vm {
  return { ...vm, notices: vm.notices.append(notice).keep(MOST_NOTICES) }
}
