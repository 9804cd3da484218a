/** Intervals of shares, by the normal distribution. */

/** Coefficients of formula 26.2.23 in Abramowitz and Stegun, whose error is below 0.00045. */
const ABOVE = [2.515517, 0.802853, 0.010328] as const
const BELOW = [1, 1.432788, 0.189269, 0.001308] as const

/** How many standard deviations an interval of this confidence has on each side. */
export function deviations(confidence: number): number {
  const t = Math.sqrt(-2 * Math.log(Math.max((1 - confidence) / 2, 1e-300)))
  const series = (of: readonly number[]): number =>
    of.reduceRight((sum, coefficient) => sum * t + coefficient, 0)
  return Math.max(t - series(ABOVE) / series(BELOW), 0)
}

/** Wilson's interval of a share, of which `hits` of `samples` were seen. */
export function wilson(hits: number, samples: number, confidence: number): [number, number] {
  const z2 = deviations(confidence) ** 2
  const share = hits / samples
  const middle = (share + z2 / (2 * samples)) / (1 + z2 / samples)
  const half =
    Math.sqrt((z2 * (share * (1 - share) + z2 / (4 * samples))) / samples) / (1 + z2 / samples)
  return [Math.max(middle - half, 0), Math.min(middle + half, 1)]
}
