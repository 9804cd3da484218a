/** The time that rates are over. */

/**
 * The part of a window in which the guest ran. A guest that did not run at all is judged by the
 * whole window.
 */
export function runningNs(ns: number, pausedNs = 0): number {
  return ns > pausedNs ? ns - pausedNs : ns
}
