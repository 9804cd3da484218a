/** Which targets a command measures, and how `calc` and `watch` measure several at once. */

import { argumentError, DirtyRateError, hasCode } from '../ground/errors.js'
import { MOUNT_PROC } from '../ground/proc.js'
import { listVms, PROC_UNMOUNTED } from '../host/vm-list.js'
import { openTarget } from '../targets/open.js'
import type { Target } from '../targets/target.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { failureOf, failureStatus } from './failure.js'
import { interrupted, withOwnHint } from './guest-end.js'
import { vmOf, vmOfOpen } from './same-vm.js'
import type { Session } from './session.js'
import type { Opening } from './target.js'
import { visible } from './text.js'

/** The targets of a command line. */
export interface TargetChoice {
  /** The targets that were named. */
  readonly uris: readonly string[]
  /** Whether every VM that `list` finds is measured too. */
  readonly all: boolean
}

/** A target to measure, or a VM that no target reaches. */
interface Place {
  readonly uri: string
  /** What people see: the URI, and the name of the VM if the URI does not have it. */
  readonly label: string
  /** The target, when it is open. */
  target?: Target
  /** Why it cannot be measured. */
  error?: unknown
}

/** A target that could be opened. */
export interface Opened {
  readonly label: string
  readonly target: Target
}

/** What was measured of one target. */
export interface Used {
  readonly complete: boolean
  /** Prints it, when the targets before it have been printed. */
  show?(): void
}

/** What became of a target. */
interface Outcome {
  readonly isFailed: boolean
  /** The exit status of a command that measures only this target. */
  readonly status: number
}

/** Whether the results of one target are shown in full. Otherwise there is a line for each. */
export function isSingle({ uris, all }: TargetChoice): boolean {
  return uris.length === 1 && !all
}

/** Throws ERR_ARGUMENT if no target is given, or if one of several is a part of another one. */
export function checkChoice({ uris, all }: TargetChoice): void {
  if (uris.length === 0 && !all) {
    throw argumentError(
      "missing required argument 'target'",
      'Give a target, such as guest:stride, or --all for every virtual machine that dirtyrate list shows.',
    )
  }
  const part = uris.slice(1).find(uri => /^[a-z-]+=/.test(uri))
  if (part !== undefined) {
    throw argumentError(
      `target: '${part}' is an option of a target, and no target`,
      'A target is one word, with commas between its options: guest:stride,memory=4GiB.',
    )
  }
}

/** Throws ERR_ARGUMENT for an output that has no place for the name of a target. */
export function refuseSingleOutputs(
  choice: TargetChoice,
  { csv = false, hmp = false }: { csv?: boolean; hmp?: boolean },
): void {
  const output = csv ? '--csv' : hmp ? '--hmp' : undefined
  if (output === undefined || isSingle(choice)) return
  throw argumentError(
    `${output}: its output has no place for the name of a target`,
    'Give one target, or --json, whose documents have it.',
  )
}

/**
 * Opens the chosen targets, calls `use` for each of them at the same time, and closes them. A
 * target that fails is reported in its place among the others, and the others go on; with
 * `atOnce`, as soon as it fails. A mistake in the command line is thrown before anything is
 * measured. `summary` prints what comes last. Resolves with the exit status: if every target has
 * failed for the like reason, with the status that one of them alone has.
 */
export async function withEach(
  session: Session,
  choice: TargetChoice,
  { mode, force, atOnce = false }: Opening & { atOnce?: boolean },
  use: (opened: Opened, all: readonly Opened[]) => Promise<Used>,
  summary: (failed: number) => void | Promise<void>,
): Promise<number> {
  session.streamDocuments()
  const { signal } = session
  const places: Place[] = choice.uris
    .filter((uri, at, all) => all.indexOf(uri) === at)
    .map(uri => ({ uri, label: uri }))
  try {
    await openEach(session, places, { mode, force })
    if (choice.all) {
      // An open target says which VM it has, by whatever name it was opened.
      const others = await otherVms(session, places)
      places.push(...others)
      await openEach(session, others, { mode, force })
      leaveOutAbsent(session, places, others)
    }
    refuseNoVm(places)
    const outcomes = await useEach(session, places, atOnce, use)
    await summary(outcomes.filter(({ isFailed }) => isFailed).length)
    const targets = places.flatMap(({ target }) => target ?? [])
    if (signal.aborted) throw interrupted(signal.reason, targets)
    const [first = EXIT_OK, ...others] = outcomes.map(({ status }) => status)
    return others.every(status => status === first) ? first : EXIT_FAILED
  } finally {
    await Promise.all(places.map(({ target }) => target?.close()))
  }
}

/** Opens the targets at the same time. Throws a mistake in the command line. */
async function openEach(
  session: Session,
  places: readonly Place[],
  { mode, force }: Opening,
): Promise<void> {
  if (places.length === 0) return
  const { signal } = session
  session.progress(`opening ${places.length} targets`)
  await Promise.all(
    places.map(async place => {
      if (place.error !== undefined) return
      try {
        place.target = await openTarget(place.uri, { signal, mode: mode.mode, force })
      } catch (error) {
        place.error = error
      }
    }),
  )
  signal.throwIfAborted()
  const mistake = places.find(({ error }) => hasCode(error, 'ERR_ARGUMENT'))
  if (mistake !== undefined) throw mistake.error
}

/** Measures the targets at the same time, and prints what comes of each in its place. */
function useEach(
  session: Session,
  places: readonly Place[],
  atOnce: boolean,
  use: (opened: Opened, all: readonly Opened[]) => Promise<Used>,
): Promise<Outcome[]> {
  const opened = places.map(({ label, target }) => target && { label, target })
  const all = opened.filter(one => one !== undefined)
  const inOrder = new InOrder()
  return Promise.all(
    places.map(async (place, at) => {
      const settle = (show: () => void): void => (atOnce ? show() : inOrder.settle(at, show))
      const fail = (error: unknown): Outcome => {
        settle(() => report(session, { ...place, error }))
        return { isFailed: true, status: failureStatus(error) }
      }
      const one = opened[at]
      if (one === undefined) return fail(place.error)
      try {
        const { complete, show = () => {} } = await use(one, all)
        settle(show)
        return { isFailed: false, status: complete ? EXIT_OK : EXIT_FAILED }
      } catch (error) {
        if (!session.signal.aborted) return fail(withOwnHint(error, one.target))
        settle(() => {})
        return { isFailed: false, status: EXIT_FAILED }
      }
    }),
  )
}

/** Calls actions in the order of their places, each as soon as every place before it is settled. */
export class InOrder {
  readonly #settled = new Map<number, () => void>()
  #next = 0

  settle(place: number, action: () => void): void {
    this.#settled.set(place, action)
    for (;;) {
      const next = this.#settled.get(this.#next)
      if (next === undefined) return
      this.#next += 1
      next()
    }
  }
}

/**
 * A route to each VM of the host that no target of `named` has. Throws ERR_TARGET_ABSENT where
 * nobody can know which VMs there are.
 */
async function otherVms(session: Session, named: readonly Place[]): Promise<Place[]> {
  session.progress('looking for virtual machines')
  const { vms, visibleProcesses } = await listVms()
  if (visibleProcesses === 'none') {
    const hint = `Mount it: ${MOUNT_PROC}`
    throw new DirtyRateError('ERR_TARGET_ABSENT', `--all: ${PROC_UNMOUNTED}`, { hint })
  }
  const taken = new Set(
    named.map(({ uri, target }) => (target === undefined ? vmOf(uri, vms) : vmOfOpen(target, vms))),
  )
  return vms.flatMap(({ pid, name, noMemory, targets }): Place[] => {
    if (taken.has(`pid:${pid}`)) return []
    if (noMemory) {
      session.note(`${labelOf(`pid:${pid}`, name)} was left out: no guest memory is found in it.`)
      return []
    }
    const uri = targets.find(({ reachable }) => reachable)?.target
    if (uri !== undefined) return [{ uri, label: labelOf(uri, name) }]
    const first = targets[0]?.target ?? `pid:${pid}`
    return [{ uri: first, label: first, error: unreachable(name, targets) }]
  })
}

/**
 * Takes processes from `places` that nobody has named, and that have ended since they were found,
 * or turned out to have no guest memory.
 */
function leaveOutAbsent(session: Session, places: Place[], others: readonly Place[]): void {
  for (const other of others) {
    const { uri, label, error } = other
    const isAbsent = hasCode(error, 'ERR_TARGET_ABSENT') || hasCode(error, 'ERR_TARGET_GONE')
    if (!isAbsent || !uri.startsWith('pid:')) continue
    session.note(`${label} was left out: ${failureOf(error).message}.`)
    places.splice(places.indexOf(other), 1)
  }
}

/** Throws ERR_TARGET_ABSENT if there is nothing to measure. */
function refuseNoVm(places: readonly Place[]): void {
  if (places.length > 0) return
  throw new DirtyRateError(
    'ERR_TARGET_ABSENT',
    '--all: there is no virtual machine here to measure',
    {
      hint: 'See dirtyrate list, which shows what it found, and as which user to look again.',
    },
  )
}

/** A target that people recognise: `pid:42` alone does not say which VM it is. */
function labelOf(uri: string, name: string | undefined): string {
  return name === undefined || uri.includes(name) ? uri : `${uri} (${name})`
}

function unreachable(
  name: string | undefined,
  targets: readonly { why: string; mend?: string }[],
): DirtyRateError {
  const [first] = targets
  return new DirtyRateError(
    'ERR_TARGET_PERMISSION',
    `${name ?? 'a virtual machine'} cannot be reached: ${first?.why ?? 'no kind of target knows it'}`,
    first?.mend === undefined ? {} : { hint: `${first.mend}.` },
  )
}

function report(session: Session, { uri, label, error }: Place): void {
  const { message, hint } = failureOf(error)
  session.print(`${visible(label)}  ${session.verdict('bad', 'failed')}: ${visible(message)}`)
  session.explain(visible(hint))
  session.document({ target: uri, error: failureOf(error) })
}
