/** An error with QEMU's own words. */

import { DirtyRateError } from '../ground/errors.js'

/**
 * QEMU's error object: `class` and `desc` (here `message`), as a QMP server sends it. Its `code` is
 * ERR_QAPI.
 *
 * @example
 * ```ts
 * try {
 *   await vm.calcDirtyRate({ 'calc-time': 0 })
 * } catch (error) {
 *   if (!(error instanceof Error && 'code' in error && error.code === 'ERR_QAPI')) throw error
 *   console.log(error.message) // Calculation time is out of range [50ms, 60000ms].
 * }
 * ```
 */
export class QapiError extends DirtyRateError {
  override readonly name: string = 'QapiError'
  /** QEMU's `QapiErrorClass`. */
  readonly class: string

  constructor(desc: string, options: { hint?: string; class?: string } = {}) {
    super('ERR_QAPI', desc, options)
    this.class = options.class ?? 'GenericError'
  }
}
