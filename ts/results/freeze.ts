/** Results that nobody can change. */

/**
 * Freezes `value` and everything in it. Whoever has a result shares it with the history and with every listener, so that a change by one
 * of them would be seen by all.
 */
export function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  Object.freeze(value)
  for (const part of Object.values(value)) freeze(part)
  return value
}
