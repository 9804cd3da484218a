/**
 * The progress line on a terminal, while a command is busy: what it does, for how long it has done
 * so, and how long it will still take.
 */

import type { Session } from './session.js'

/** If work takes less time than this, the line does not show times. */
const LONG_MS = 2000
/** How often the times are updated. */
const EVERY_MS = 1000

/** Shows `text` while `work` is done, with the times if the work is expected to take long. */
export async function during<T>(
  session: Session,
  text: string,
  expectedMs: number,
  work: () => Promise<T>,
): Promise<T> {
  const begun = performance.now()
  const show = (): void =>
    session.progress(progressLine(text, performance.now() - begun, expectedMs))
  show()
  const timer = expectedMs < LONG_MS ? undefined : setInterval(show, EVERY_MS)
  try {
    return await work()
  } finally {
    clearInterval(timer)
  }
}

/** `measuring: 5 s, 1 min 55 s left`; the times are left out if the work does not take long. */
export function progressLine(text: string, elapsedMs: number, expectedMs: number): string {
  if (expectedMs < LONG_MS) return text
  if (!Number.isFinite(expectedMs)) return `${text}: ${clock(elapsedMs)}`
  const left = expectedMs - elapsedMs
  return `${text}: ${clock(elapsedMs)}, ${left > 0 ? `${clock(left)} left` : 'about to end'}`
}

/** Whole seconds, in the units that a person would say. */
function clock(ms: number): string {
  const seconds = Math.round(ms / 1000)
  const parts: [number, string][] = [
    [Math.floor(seconds / 3600), 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ]
  const shown = parts.filter(([value]) => value > 0)
  return shown.length === 0 ? '0 s' : shown.map(([value, unit]) => `${value} ${unit}`).join(' ')
}
