/**
 * What the core reports, as interfaces of this package: what a caller infers from a call has a name that the package exports. The
 * binding's own types have the same members, which the test of this file holds.
 */

/** One probe of KVM: counts are of entries, slots and vCPUs; `dirtyRingEntries` 0 means no ring; `pageSize` is in bytes. */
export interface Capabilities {
  apiVersion: number
  /** 'x86_64' or 'aarch64'. */
  arch: string
  manualDirtyLogProtect: 'none' | 'enable' | 'initially-set'
  dirtyRing: boolean
  dirtyRingAcqRel: boolean
  /** 0: no ring. */
  dirtyRingEntries: number
  dirtyRingWithBitmap: boolean
  memorySlots: number
  vcpus: number
  recommendedVcpus: number
  immediateExit: boolean
  syncRegs: boolean
  binaryStatsFd: boolean
  preFaultMemory: boolean
  /**
   * Whether guests run on the CPU's own two levels of page tables. On x86-64 the log then may have pages that the guest only reads,
   * most of them its page tables.
   */
  nestedPaging: boolean
  /** Bytes. */
  pageSize: number
}

/** A RAM block of a VM; `generation` tells two blocks of one name apart. */
export interface RamBlockInfo {
  name: string
  /** Unique for the life of the virtual machine. */
  generation: number
  guestAddress: number
  bytes: number
}

/** How a guest crashed. */
export interface Crash {
  vcpu: number
  reason: string
  /** Hexadecimal; null where the kernel could not say. */
  instructionPointer?: string | null
}

/** What one sync did: durations in ns (`longestLockNs`: the longest single CLEAR), `pages` newly dirty for any client. */
export interface SyncReport {
  ns: number
  ioctlNs: number
  fetchNs: number
  clearNs: number
  longestLockNs: number
  /** Pages that the log named. */
  pages: number
}

/** One block's share of a reap. */
export interface BlockReap {
  name: string
  generation: number
  guestAddress: number
  bytes: number
  pages: number
  windowNs: number
  bytesPerSecond: number
  /** The block is gone; its last bits are here. */
  removed: boolean
}

/** What the rings tell of a window. Of all vCPUs, entries are pages and duplicates; dropped and lost ones are beside them. */
export interface RingReap {
  entries: number
  duplicates: number
  /** Pages that more than one vCPU wrote. */
  sharedPages: number
  /** Entries of memory that is not logged, or not there any more. */
  dropped: number
  /** Entries that are known to be lost. */
  lost: number
}

/** One vCPU's share of a reap. */
export interface VcpuReap {
  id: number
  pages: number
  entries: number
  duplicates: number
  bytesPerSecond: number
}

/** A client's dirty pages since its window opened: in all, by block, and beside them what the guest's own counters say. */
export interface Reap {
  pages: number
  bytes: number
  bytesPerSecond: number
  /** From the first CLEAR to the last GET that the client was given. */
  windowNs: number
  /** How long of the window the guest stood, because it was paused or had ended. Rates are over the rest. */
  pausedNs: number
  skewNs: number
  /** What the reap itself took. */
  reapNs: number
  blocks: BlockReap[]
  /** False: entries were lost within the window, and the pages are a lower bound. */
  complete: boolean
  /** With dirty rings. */
  ring?: RingReap | null
  /** With dirty rings. */
  vcpus?: VcpuReap[] | null
  /** With a workload: what the guest wrote in this window, by its own counters. */
  truth?: Truth | null
}

/** One deadline of `syncAt`: how late the native thread was, what its sync did, and the client's bits right after it. */
export interface DeadlineReport {
  requestedMs: number
  /** How much later than the deadline the sync began. */
  lateNs: number
  sync: SyncReport
  reap: Reap
}

/** What each vCPU had written, and been granted, at one instant. Give it to {@link RunningWorkload.truth}. */
export interface WorkloadInstant {
  /** Writes made, by vCPU. */
  writes: number[]
  /** Writes granted, by vCPU; null when the guest runs freely. */
  budgets: (number | null)[]
  /** Grants made by the host. */
  grants: number
}

/** Pages that the guest wrote between two instants, by its own counters: `low` surely, `high` possibly, `pages` by the counts as read. */
export interface Truth {
  /** Surely written inside. */
  low: number
  /** Counted between the end of the window's CLEAR and its GET. */
  pages: number
  /** Possibly written inside. */
  high: number
}
