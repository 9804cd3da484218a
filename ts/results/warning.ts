/** Warnings, which say what a user of a result should know beside its figures. */

import type { ErrorCode } from '../ground/errors.js'

/** Every warning, with its meaning in one sentence. */
const MEANINGS = {
  WINDOW_MISMATCH:
    'The window was longer or shorter than asked for by more than its own sync explains: by a tenth, and by at least 10 ms.',
  LOG_LEFT_ON: 'The result is right, but the dirty log could not be turned off after it.',
  RING_OVERRUN: 'Entries of a dirty ring were lost, so that the figures are lower bounds.',
  RING_UNAVAILABLE:
    'The VM was created with dirty rings, but the kernel has none, so the dirty bitmap measured instead.',
  SEPARATE_WINDOWS:
    'The windows of the curve did not open together, so that each point is of another time.',
  NOT_STATIONARY:
    'The guest changed between the rounds of a repeated curve, so that the means are of no one time. `repeated.phases` has the parts of the time in which it did not change.',
  INTERRUPTED:
    'A repeated curve was interrupted, and its figures are the means of the whole rounds until then.',
  PAGES_UNJUDGED:
    'Some samples came back from swap or from the disk within the window. Nobody knows whether they changed, so the figures are lower bounds.',
  HUGE_PAGES:
    'Some of the memory is in huge pages, and the first write to one counts for all of it. The figures are upper bounds, and `interval` has the lower bound of the rate.',
  BITS_VANISHED:
    'Soft-dirty bits vanished within the window, because another program cleared them, the process discarded memory, or the kernel took pages of a file away from it, so that the figures are lower bounds.',
  BITS_IN_USE:
    'The soft-dirty bits had been cleared before, by an earlier measurement or by another program such as CRIU, which now misses the writes before this measurement.',
  WRITES_UNSEEN:
    'Some writes leave no soft-dirty bit: those of another process that shares the memory, or those to pages that the kernel merges. The figures are lower bounds.',
  SLOW_READER:
    'The memory was read more slowly than the link of the migration that an audit stands for, by more than a tenth.',
  COMPRESSION_UNKNOWN:
    'The curve is right, but how well the pages compress could not be measured after it, for example because the host has no libzstd.',
  BLOCK_REMOVED:
    'A RAM block was removed within the window. It contributes the pages written before its removal, so that no figure is too low.',
} as const

/** The stable name of a warning. */
export type WarningCode = keyof typeof MEANINGS

/** Every code of a warning. */
export const warningCodes: readonly WarningCode[] = Object.keys(MEANINGS) as WarningCode[]

/** A stable code for programs, and a sentence for people. */
export interface Warning {
  readonly code: WarningCode
  readonly message: string
  /** Of INTERRUPTED: the error that a round failed with. Absent if the caller ended the curve. */
  readonly error?: WarningError
}

/** An error as the results have it. */
export interface WarningError {
  readonly code: ErrorCode
  readonly message: string
  /** What to do about it. */
  readonly hint: string
}
