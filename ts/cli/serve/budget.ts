/** The option --budget: a part of one CPU. */

import { availableParallelism } from 'node:os'
import { show } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'

/** Less does not suffice for the server alone. */
const LEAST_PERCENT = 0.1

/** The CPUs that measuring may take, on average. Throws ERR_ARGUMENT. */
export function parseBudget(text: string, name: string): number {
  const [, digits, sign] = /^([0-9]*\.?[0-9]+) ?(%?)$/.exec(text.trim()) ?? []
  if (digits === undefined || sign === '') {
    const meant = digits === undefined ? '' : `Did you mean ${digits}%? `
    throw argumentError(
      `${name}: ${show(text)} is not a part of a CPU`,
      `${meant}Give it in percent of one CPU, such as 2%.`,
    )
  }
  const percent = Number(digits)
  const most = 100 * availableParallelism()
  if (percent < LEAST_PERCENT || percent > most) {
    throw argumentError(
      `${name}: ${show(text)} is out of range`,
      `Give ${LEAST_PERCENT}% to ${most}%: 100% is one CPU, and this host has ${most / 100}.`,
    )
  }
  return percent / 100
}
