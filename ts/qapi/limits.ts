/** QEMU's limits of `calc-dirty-rate`, and its defaults. */

/** Samples for each GiB. */
export const FEWEST_SAMPLES = 128
export const MOST_SAMPLES = 16_384
/** One sample in each 2 MiB. */
export const DEFAULT_SAMPLES = 512

/** The calculation time in ms. */
export const SHORTEST_MS = 50
export const LONGEST_MS = 60_000
