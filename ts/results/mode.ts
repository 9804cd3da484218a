/** The ways of measuring a dirty rate. */

/**
 * `dirty-bitmap` and `dirty-ring` read KVM's own logs and are exact. `page-sampling` compares the
 * hashes of some pages and is an estimate with an interval.
 */
export type Mode = 'page-sampling' | 'dirty-ring' | 'dirty-bitmap'

/**
 * The members of the union `Result` that a measurement in the mode `Wanted` can have; all members
 * for `auto`.
 */
export type InMode<Result, Wanted> = Wanted extends Mode
  ? Extract<Result, { readonly mode: Wanted }>
  : Result

/** Every mode. */
export const modes: readonly Mode[] = ['page-sampling', 'dirty-ring', 'dirty-bitmap']
