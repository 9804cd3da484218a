/** What this machine's KVM can do. */

import { parseText } from './arguments.js'
import { callNative, type NativeCapabilities, native } from './native.js'

/** One probe of KVM: counts are of entries, slots and vCPUs; `dirtyRingEntries` 0 means no ring; `pageSize` is in bytes. */
export type Capabilities = NativeCapabilities

/** Probes `path` (default `/dev/kvm`). Throws ERR_ARGUMENT, ERR_KVM_ABSENT, ERR_KVM_PERMISSION, ERR_KVM_VERSION, ERR_NATIVE_LOAD. */
export function capabilities(path?: string): Capabilities {
  if (path !== undefined) parseText(path, 'path')
  return callNative(() => (path === undefined ? native().capabilities() : native().capabilities(path)))
}
