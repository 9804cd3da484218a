/** Which targets a command measures, and how `calc` and `watch` measure several at once. */

import { argumentError, DirtyRateError, hasCode } from '../ground/errors.js'
import { listVms } from '../host/vm-list.js'
import { openTarget } from '../targets/open.js'
import type { Target } from '../targets/target.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { failureOf } from './failure.js'
import { interrupted, withOwnHint } from './guest-end.js'
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

/** A target that is not measured, and why. */
interface Failed {
  readonly uri: string
  readonly error: unknown
}

/** A target that could be opened. */
export interface Opened {
  readonly uri: string
  readonly target: Target
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
 * target that fails is reported, and the others go on. A mistake in the command line is thrown
 * before anything is measured. `summary` prints what comes last. Resolves with the exit status.
 */
export async function withEach(
  session: Session,
  choice: TargetChoice,
  { mode, force }: Opening,
  use: (opened: Opened, all: readonly Opened[]) => Promise<boolean>,
  summary: (failed: number) => void,
): Promise<number> {
  session.streamDocuments()
  const { signal } = session
  const { uris, failed } = await chosen(session, choice)
  const opened: Opened[] = []
  try {
    session.progress(`opening ${uris.length} targets`)
    const openings = await Promise.allSettled(
      uris.map(async uri => {
        opened.push({ uri, target: await openTarget(uri, { signal, mode: mode.mode, force }) })
      }),
    )
    openings.forEach((opening, at) => {
      if (opening.status === 'rejected') failed.push({ uri: uris[at] ?? '', error: opening.reason })
    })
    signal.throwIfAborted()
    const mistake = failed.find(({ error }) => hasCode(error, 'ERR_ARGUMENT'))
    if (mistake !== undefined) throw mistake.error
    for (const one of failed) report(session, one)
    // In the order in which they were named.
    opened.sort((a, b) => uris.indexOf(a.uri) - uris.indexOf(b.uri))
    let complete = true
    await Promise.all(
      opened.map(async one => {
        try {
          complete = (await use(one, opened)) && complete
        } catch (error) {
          if (signal.aborted) return
          const failure = { uri: one.uri, error: withOwnHint(error, one.target) }
          failed.push(failure)
          report(session, failure)
        }
      }),
    )
    summary(failed.length)
    if (signal.aborted) {
      throw interrupted(
        signal.reason,
        opened.map(({ target }) => target),
      )
    }
    return complete && failed.length === 0 ? EXIT_OK : EXIT_FAILED
  } finally {
    await Promise.all(opened.map(({ target }) => target.close()))
  }
}

/** The targets that are named, and a route to each VM of the host. */
async function chosen(
  session: Session,
  { uris: named, all }: TargetChoice,
): Promise<{ uris: string[]; failed: Failed[] }> {
  const uris = new Set(named)
  const failed: Failed[] = []
  if (!all) return { uris: [...uris], failed }
  session.progress('looking for virtual machines')
  for (const { pid, name, targets } of (await listVms()).vms) {
    const route = targets.find(({ reachable }) => reachable)
    if (route !== undefined) uris.add(route.target)
    else failed.push({ uri: targets[0]?.target ?? `pid:${pid}`, error: unreachable(name, targets) })
  }
  if (uris.size + failed.length === 0) {
    throw new DirtyRateError('ERR_TARGET_ABSENT', '--all: there is no virtual machine here', {
      hint: 'See dirtyrate list, which shows what it found, and as which user to look again.',
    })
  }
  return { uris: [...uris], failed }
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

function report(session: Session, { uri, error }: Failed): void {
  const { message, hint } = failureOf(error)
  session.print(`${visible(uri)}  ${session.verdict('bad', 'failed')}: ${visible(message)}`)
  session.explain(visible(hint))
  session.document({ target: uri, error: failureOf(error) })
}
