/** Freezes results, so that nobody can change them. */

/**
 * Freezes `value` and everything in it. A caller shares a result with the history and with every
 * listener, so a change by one of them would be visible to all.
 */
export function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  Object.freeze(value)
  for (const part of Object.values(value)) freeze(part)
  return value
}
