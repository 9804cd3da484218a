/** Why a VM is not measured now, and what can be done about it. */

import { duration, measuredSize, rate, safe } from '../format.js'
import type { Vm } from '../state/state.js'
import { retryText } from './vm-status.js'

export function StateNote({ vm }: { vm: Vm }) {
  const { failure, migration, state } = vm
  if (vm.isGone)
    return (
      <p class="note">
        The target is not served any more: its VM has ended, or the configuration has changed. Its
        history stays on this page.
      </p>
    )
  if (migration?.underWay) {
    const {
      status,
      elapsedMs,
      remainingBytes,
      transferredBytes,
      passes,
      dirtyPagesPerSecond,
      pageSize,
    } = migration
    return (
      <div class="note">
        <p>The VM migrates ({safe(status)}). It is followed, and not measured meanwhile.</p>
        <dl class="figures">
          {elapsedMs !== undefined && <Pair name="since" text={duration(elapsedMs)} />}
          {remainingBytes !== undefined && (
            <Pair name="remaining" text={measuredSize(remainingBytes)} />
          )}
          {transferredBytes !== undefined && (
            <Pair name="sent" text={measuredSize(transferredBytes)} />
          )}
          {passes !== undefined && <Pair name="passes" text={String(passes)} />}
          {dirtyPagesPerSecond !== undefined && (
            <Pair name="dirty rate" text={rate(dirtyPagesPerSecond * (pageSize ?? 4096))} />
          )}
        </dl>
      </div>
    )
  }
  if (state === 'paused')
    return (
      <p class="note">
        The VM is paused, and dirties nothing. It is measured again as soon as it runs. This page
        cannot resume it.
      </p>
    )
  if (failure === undefined) return null
  return (
    <div class="note note-bad" role="alert">
      <p>
        <b>{safe(failure.text)}</b>{' '}
        {failure.code !== undefined && <code>{safe(failure.code)}</code>}
      </p>
      {failure.hint !== undefined && <p>{safe(failure.hint)}</p>}
      <p class="quiet">{retryText(vm)}</p>
    </div>
  )
}

function Pair({ name, text }: { name: string; text: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{text}</dd>
    </div>
  )
}
