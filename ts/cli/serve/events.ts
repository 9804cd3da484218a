/** What the rounds of a target say, as events for a dashboard. */

import type {
  DashboardEvent,
  FailedEvent,
  MeasuredEvent,
  TargetEvent,
} from '../../dashboard/events.js'
import type { DirtyCells } from '../../results/cells.js'
import type { Figures } from '../../results/measurement.js'
import type { MigrationProgress } from '../../results/migration.js'
import { failureOf } from '../failure.js'
import type { FleetListener, FleetTarget } from './fleet.js'

/** A listener that publishes what it hears. */
export function publishing(
  { uri, name: first }: Pick<FleetTarget, 'uri' | 'name'>,
  publish: (event: DashboardEvent) => void,
): FleetListener {
  const now = (): { at: number; target: string } => ({ at: Date.now(), target: uri })
  let name = first
  let facts: string | undefined
  let migration: MigrationProgress | undefined
  return {
    described: description => {
      migration = description.migration
      const { memoryBytes, vcpus, state, software } = description
      const event: TargetEvent = {
        kind: 'target',
        ...now(),
        ...(name === undefined ? {} : { name }),
        memoryBytes,
        ...(vcpus === undefined ? {} : { vcpus }),
        state,
        ...(software === undefined ? {} : { software }),
      }
      const { at: _, ...known } = event
      const text = JSON.stringify(known)
      if (text !== facts) publish(event)
      facts = text
    },
    followed: () => {
      if (migration !== undefined) publish({ kind: 'migrating', ...now(), migration })
    },
    measured: (result, _, at) => publish({ ...figuresOf(result), at, target: uri }),
    curveMeasured: async (curve, at) => publish({ kind: 'curve', at, target: uri, curve }),
    curveFailed: error => publish({ ...now(), ...failedBy(error) }),
    failed: (error, retryMs) => publish({ ...now(), ...failedBy(error), retryMs }),
    // The next round tells it.
    changed: target => {
      name = target.name
    },
    gone: () => publish({ kind: 'gone', ...now() }),
  }
}

function figuresOf(result: Figures): Omit<MeasuredEvent, 'at' | 'target'> {
  const { mode, window, bytesPerSecond, interval, pages, pageSize, complete, warnings } = result
  const { cells } = result
  return {
    kind: 'measured',
    mode,
    requestedMs: window.requestedMs,
    windowNs: window.ns,
    ...(window.pausedNs === undefined ? {} : { pausedNs: window.pausedNs }),
    bytesPerSecond,
    interval,
    ...(pages === undefined ? {} : { pages }),
    ...(pageSize === undefined ? {} : { pageSize }),
    ...(result.mode === 'dirty-ring'
      ? { vcpus: result.vcpus.map(({ id, bytesPerSecond }) => ({ id, bytesPerSecond })) }
      : {}),
    complete,
    warnings,
    ...(cells === undefined ? {} : { cells: withoutRemoved(cells) }),
  }
}

/** A block that was removed within the window can be without its cells. */
function withoutRemoved({ cellBytes, blocks }: DirtyCells): DirtyCells {
  return { cellBytes, blocks: blocks.filter(({ pages }) => pages.length > 0) }
}

function failedBy(error: unknown): Pick<FailedEvent, 'kind' | 'code' | 'message' | 'hint'> {
  const { code, message, hint } = failureOf(error)
  return { kind: 'failed', code, message, ...(hint === undefined ? {} : { hint }) }
}

/** Tells several listeners what one of them would hear. */
export function together(listeners: readonly FleetListener[]): FleetListener {
  const each =
    <Args extends unknown[]>(tell: (listener: FleetListener, ...args: Args) => void) =>
    (...args: Args): void => {
      for (const listener of listeners) tell(listener, ...args)
    }
  return {
    described: each((one, description) => one.described(description)),
    followed: each(one => one.followed()),
    measured: each((one, ...result) => one.measured(...result)),
    curveMeasured: async (...curve) => {
      await Promise.all(listeners.map(one => one.curveMeasured(...curve)))
    },
    curveFailed: each((one, error) => one.curveFailed(error)),
    failed: each((one, ...failure) => one.failed(...failure)),
    changed: each((one, target) => one.changed?.(target)),
    gone: each(one => one.gone()),
  }
}
