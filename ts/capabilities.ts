/** What this machine's KVM can do. */

import { callNative, type NativeCapabilities, native } from './native.js'

/** One probe of KVM: counts are of entries, slots and vCPUs; `dirtyRingEntries` 0 means no ring; `pageSize` is in bytes. */
export type Capabilities = NativeCapabilities

/** Probes `path` (default `/dev/kvm`). Throws ERR_KVM_ABSENT, ERR_KVM_PERMISSION, ERR_KVM_VERSION, ERR_NATIVE_LOAD. */
export function capabilities(path?: string): Capabilities {
  return callNative(() => (path === undefined ? native().capabilities() : native().capabilities(path)))
}
