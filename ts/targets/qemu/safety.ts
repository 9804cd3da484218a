/**
 * What would harm a VM, or measure nonsense, and is refused before anything is sent. Each rule was
 * seen on a real QEMU.
 */

import { DirtyRateError } from '../../ground/errors.js'
import { native } from '../../ground/native.js'
import type { ModeAbility } from '../../measurement/source.js'
import type { QemuVersion } from '../../qmp/greeting.js'
import type { MigrationProgress } from '../../results/migration.js'
import type { Mode } from '../../results/mode.js'
import { migrationText } from './migration.js'
import { MODES } from './modes.js'
import { isAtLeast, versionText } from './version.js'

/** What decides whether a VM of QEMU can be measured now, and in which modes. */
export interface Circumstances {
  readonly version: QemuVersion
  /**
   * Whether KVM runs the guest. Otherwise QEMU translates it (TCG), or another hypervisor runs it.
   */
  readonly kvm: boolean
  /** QEMU's `RunState`. */
  readonly state: string
  readonly running: boolean
  /** The migration that is under way, or the last one. */
  readonly migration?: MigrationProgress
}

/** How a VM is to be measured. */
export interface Wanted {
  readonly mode: Mode
  /** The caller accepts that the VM may be harmed. */
  readonly force: boolean
  /** Whether KVM emulates the guests of the VM's host; undefined where nobody knows. */
  readonly emulated: boolean | undefined
}

/** Whether KVM emulates the guests of this host; undefined where nobody knows. */
export function emulatedHere(): boolean | undefined {
  try {
    return native().capabilities().emulated
  } catch {
    return undefined
  }
}

/** Throws ERR_PAUSED, ERR_STATE, ERR_MIGRATING, ERR_UNSAFE_MODE. */
export function requireSafe(facts: Circumstances, wanted: Wanted): void {
  if (facts.migration?.underWay === true) {
    throw migrating('the VM is being migrated', facts.migration, wanted.mode)
  }
  if (!facts.running) {
    const isPaused = facts.state === 'paused' || facts.state === 'prelaunch'
    throw new DirtyRateError(
      isPaused ? 'ERR_PAUSED' : 'ERR_STATE',
      `the guest does not run: QEMU says '${facts.state}', and would measure 0`,
      {
        hint: isPaused ? "Let it go on (QMP 'cont'), then measure." : restHint(facts),
      },
    )
  }
  const why = wanted.force ? undefined : harm(facts, wanted)
  if (why === undefined) return
  throw new DirtyRateError('ERR_UNSAFE_MODE', `mode ${wanted.mode} is refused: ${why}`)
}

/** The error of a migration that is under way, or that began within the window. */
export function migrating(what: string, migration: MigrationProgress, mode: Mode): DirtyRateError {
  const why =
    mode === 'page-sampling'
      ? 'The figure would be that of a guest whose migration slows it down.'
      : 'QEMU would count a page again at each pass of the migration.'
  return new DirtyRateError('ERR_MIGRATING', `${what}: ${migrationText(migration)}`, {
    hint: `Measure before the migration, or after it. In the API, describe() says how far it is. ${why}`,
    details: { status: migration.status },
  })
}

/** The modes of QEMU, each with the reason why it is refused for such a VM, if it is. */
export function abilities(facts: Circumstances, wanted: Omit<Wanted, 'mode'>): ModeAbility[] {
  return MODES.map(ability => {
    const refused = wanted.force ? undefined : harm(facts, { ...wanted, mode: ability.mode })
    return refused === undefined ? ability : { ...ability, refused }
  })
}

function restHint({ state, migration }: Circumstances): string {
  return state === 'postmigrate' && migration?.status === 'completed'
    ? 'The guest has moved: measure it at its destination.'
    : 'Measure while the guest runs.'
}

/** What this mode would do to the VM; undefined if nothing is known against it. */
function harm({ kvm, version }: Circumstances, { mode, emulated }: Wanted): string | undefined {
  if (mode === 'dirty-bitmap' && !kvm) {
    return !isAtLeast(version, 8, 0)
      ? `QEMU ${versionText(version)} crashes in this mode where KVM does not run the guest`
      : `QEMU ${versionText(version)} reads 0 in this mode where KVM does not run the guest`
  }
  if (mode !== 'dirty-ring' || !kvm || emulated === false) return undefined
  return emulated === true
    ? 'KVM emulates the guests of this host, and a guest with dirty rings would stand still for ever'
    : 'nobody here can see whether KVM emulates the guests of that host, where a guest with dirty rings would stand still for ever'
}
