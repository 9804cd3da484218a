/** The ways of measuring a dirty rate. */

/**
 * `dirty-bitmap` and `dirty-ring` read KVM's own logs and are exact. `page-sampling` compares the
 * hashes of some pages and is an estimate with an interval. `soft-dirty` reads the bits that the
 * kernel keeps of the pages of a process, from outside of the process, and is exact.
 */
export type Mode = 'page-sampling' | 'dirty-ring' | 'dirty-bitmap' | 'soft-dirty'

/**
 * The members of the union `Result` that a measurement in the mode `Wanted` can have; all members
 * for `auto`.
 */
export type InMode<Result, Wanted> = Wanted extends Mode
  ? Extract<Result, { readonly mode: Wanted }>
  : Result

/** Every mode. */
export const modes: readonly Mode[] = ['page-sampling', 'dirty-ring', 'dirty-bitmap', 'soft-dirty']
