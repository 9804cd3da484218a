/** What this machine's KVM can do. */

import { parseText } from '../../ground/arguments.js'
import { callNative, native } from '../../ground/native.js'
import type { Capabilities } from './reports.js'

/**
 * Probes `path` (default `/dev/kvm`). Throws ERR_ARGUMENT, ERR_KVM_ABSENT, ERR_KVM_PERMISSION,
 * ERR_KVM_VERSION, ERR_NATIVE_LOAD.
 *
 * @example
 * ```ts
 * import { capabilities } from 'dirtyrate'
 *
 * const { arch, dirtyRingEntries, nestedPaging } = capabilities()
 * console.log(arch, dirtyRingEntries, nestedPaging)
 * ```
 */
export function capabilities(path?: string): Capabilities {
  if (path !== undefined) parseText(path, 'path')
  return callNative(() =>
    path === undefined ? native().capabilities() : native().capabilities(path),
  )
}
