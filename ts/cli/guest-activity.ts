/** What a measurement cost the guest, as KVM counted it, in words. */

import type { GuestActivity, GuestCost } from '../results/measurement.js'
import { count } from './text.js'

const NAMES: Readonly<Record<keyof GuestActivity, string>> = {
  exitsPerSecond: 'exits',
  pageFaultsPerSecond: 'page faults',
  tlbFlushesPerSecond: 'TLB flushes',
}

/**
 * One text for each figure: `exits per second: 10 before, 1,200 during and 11 after the window`. A
 * time in which the guest was not observed is left out.
 */
export function guestActivity({ before, during, after }: GuestCost): string[] {
  return figuresOf(during).map(({ figure, name, value }) => {
    const times = [
      [before?.[figure], 'before'],
      [value, 'during'],
      [after?.[figure], 'after'],
    ] as const
    const known = times.flatMap(([rate, when]) =>
      rate === undefined ? [] : [`${count(rate)} ${when}`],
    )
    return `${name} per second: ${enumerated(known)} the window`
  })
}

/** What happened within the window, for a line: `1,200 exits and 300 page faults per second`. */
export function activityDuring({ during }: GuestCost): string {
  const parts = figuresOf(during).map(({ name, value }) => `${count(value)} ${name}`)
  return parts.length === 0 ? '' : `${enumerated(parts)} per second`
}

function figuresOf(
  activity: GuestActivity,
): { figure: keyof GuestActivity; name: string; value: number }[] {
  return (Object.keys(NAMES) as (keyof GuestActivity)[]).flatMap(figure => {
    const value = activity[figure]
    return value === undefined ? [] : [{ figure, name: NAMES[figure], value }]
  })
}

/** `a`, `a and b`, `a, b and c`. */
function enumerated(parts: readonly string[]): string {
  const [last = '', ...others] = [...parts].reverse()
  return others.length === 0 ? last : `${others.reverse().join(', ')} and ${last}`
}
