/**
 * The reports of the core, as interfaces of this package, so that every type which a call returns
 * has a name that the package exports. A test checks that the binding's own types have the same
 * members.
 */

import type { Truth } from '../../results/truth.js'

/** What one probe of KVM found. */
export interface Capabilities {
  apiVersion: number
  /** 'x86_64' or 'aarch64'. */
  arch: string
  manualDirtyLogProtect: 'none' | 'enable' | 'initially-set'
  dirtyRing: boolean
  dirtyRingAcqRel: boolean
  /** The most entries of a dirty ring; 0 if the kernel has no rings. */
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
   * Whether guests run on the CPU's own two levels of page tables. On x86-64 the log then may have
   * pages that the guest only reads, most of them its page tables.
   */
  nestedPaging: boolean
  /**
   * Whether the CPU logs the pages that guests dirty: PML on Intel and AMD, HDBSS on arm64. Absent
   * if KVM does not say it, as always on arm64: no released kernel says whether it uses HDBSS.
   */
  pageModificationLog?: boolean
  /**
   * Whether the kernel emulates guests, which then write far more slowly than a CPU. Absent if that
   * is not known.
   */
  emulated?: boolean
  /** The host's page size, in bytes. */
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
  /** Hexadecimal; null if the kernel could not say it. */
  instructionPointer?: string | null
}

/** What one sync did. `longestLockNs` is the longest single CLEAR. */
export interface SyncReport {
  ns: number
  ioctlNs: number
  fetchNs: number
  clearNs: number
  longestLockNs: number
  /** How many pages the log had. */
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
  /** The block was removed, and these are its last bits. */
  removed: boolean
  /**
   * Only if it was asked for: the pages of each region of 1 GiB, from the start of the block on.
   */
  regions?: number[] | null
  /** Only if it was asked for: the pages of each cell, from the start of the block on. */
  cells?: number[] | null
}

/** A client's dirty memory in granules of one size. */
export interface GranularityReap {
  granuleBytes: number
  /** Granules with a dirty page. */
  dirty: number
  /** Maximal runs of dirty granules within a block. */
  extents: number
}

/** What the dirty rings report for a window. */
export interface RingReap {
  /** The entries of all vCPUs: one for each of their pages, and the duplicates. */
  entries: number
  /** Entries for a page that the same vCPU had an entry for already. */
  duplicates: number
  /** Pages that more than one vCPU wrote. */
  sharedPages: number
  /** Not in `entries`: entries for memory that is not logged, or that was removed. */
  dropped: number
  /**
   * Not in `entries`: entries that are known to be lost. Above 0 only if the report is not
   * complete.
   */
  lost: number
}

/** One vCPU's share of a reap. */
export interface VcpuReap {
  id: number
  /** Distinct pages. A page that several vCPUs wrote counts for each of them. */
  pages: number
  /** Ring entries, duplicates included. */
  entries: number
  /** Entries for a page that this vCPU had an entry for already. */
  duplicates: number
  bytesPerSecond: number
}

/**
 * A client's dirty pages since its window opened: in all and by block, and what the guest's own
 * counters say.
 */
export interface Reap {
  pages: number
  /** The same pages in bytes. */
  dirtyBytes: number
  bytesPerSecond: number
  /** From the first CLEAR to the last GET whose bits went to the client. */
  windowNs: number
  /**
   * The part of the window in which the guest was paused or had ended. Rates leave this time out.
   */
  pausedNs: number
  skewNs: number
  /** How long the reap itself took. */
  reapNs: number
  blocks: BlockReap[]
  /** False: entries were lost within the window, and the pages are a lower bound. */
  complete: boolean
  /** Only with dirty rings. */
  ring?: RingReap | null
  /** Only with dirty rings. */
  vcpus?: VcpuReap[] | null
  /** Only with a workload: what the guest wrote in this window, by its own counters. */
  truth?: Truth | null
  /** Only if they were asked for. */
  granularities?: GranularityReap[] | null
}

/**
 * The report of one deadline of `syncAt`: how late the native thread was, what its sync did, and
 * the client's bits right after it.
 */
export interface DeadlineReport {
  requestedMs: number
  /** How much later than the deadline the sync began. */
  lateNs: number
  sync: SyncReport
  reap: Reap
}

/** The counters of a workload at one instant, for {@link RunningWorkload.truth}. */
export interface WorkloadInstant {
  /** Writes made, by vCPU. */
  writes: number[]
  /** Writes granted, by vCPU; null if the guest takes no grants. */
  budgets: (number | null)[]
  /** Grants made by the host. */
  grants: number
}
