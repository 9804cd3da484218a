/** `dirtyrate capabilities`: what this machine's KVM can do. */

import { capabilities } from '../targets/vm/capabilities.js'
import type { Capabilities } from '../targets/vm/reports.js'
import { EXIT_OK } from './exit.js'
import type { Session } from './session.js'
import { count } from './text.js'

/** The column in which values begin, behind the longest name. */
const VALUES_BEGIN = 26

/** What figures mean on a machine on which the kernel emulates guests. */
const EMULATED =
  'This KVM emulates the guests that are not made for it. Figures are right, but a guest that writes as fast as it can is far slower here than on a CPU.'

/** One row if `has` is known, and otherwise none. */
const known = (name: string, has: boolean | undefined): [string, string][] =>
  has === undefined ? [] : [[name, yes(has)]]

/** No released kernel says whether it uses the log of arm64's CPUs. */
const NOT_SAID = 'not known: KVM does not say whether it uses HDBSS'

const yes = (has: boolean): string => (has ? 'yes' : 'no')

/** What is shown of a kernel's KVM: names and values. */
export function rows(found: Capabilities): [string, string][] {
  return [
    ['KVM API version', String(found.apiVersion)],
    ['architecture', `${found.arch}, pages of ${count(found.pageSize)} bytes`],
    ['manual dirty-log protect', found.manualDirtyLogProtect],
    [
      'dirty ring',
      found.dirtyRing || found.dirtyRingAcqRel
        ? `${count(found.dirtyRingEntries)} entries`
        : 'none',
    ],
    ['  with ordered stores', yes(found.dirtyRing)],
    ['  with acquire-release', yes(found.dirtyRingAcqRel)],
    ['  with backup bitmap', yes(found.dirtyRingWithBitmap)],
    ['memory slots', count(found.memorySlots)],
    ['vCPUs', `${count(found.vcpus)}, recommended up to ${count(found.recommendedVcpus)}`],
    ['immediate exit', yes(found.immediateExit)],
    ['register synchronisation', yes(found.syncRegs)],
    ['binary statistics', yes(found.binaryStatsFd)],
    ['pre-faulting of memory', yes(found.preFaultMemory)],
    ['nested paging', yes(found.nestedPaging)],
    ...(found.arch === 'aarch64' && found.pageModificationLog === undefined
      ? [['page-modification log', NOT_SAID] as [string, string]]
      : known('page-modification log', found.pageModificationLog)),
    ...known('guests are emulated', found.emulated),
  ]
}

export async function runCapabilities(session: Session): Promise<number> {
  const found = capabilities()
  for (const [name, value] of rows(found)) session.field(name, value, VALUES_BEGIN)
  if (found.emulated) session.explain(EMULATED)
  session.document(found)
  return EXIT_OK
}
