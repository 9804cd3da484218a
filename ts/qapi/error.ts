/** A refusal in QEMU's words. */

import { DirtyRateError } from '../ground/errors.js'

/** QEMU's error object: `class` and `desc` (here `message`), as a QMP server sends it. Its `code` is ERR_QAPI. */
export class QapiError extends DirtyRateError {
  override readonly name: string = 'QapiError'
  /** QEMU's `QapiErrorClass`. */
  readonly class: 'GenericError'

  constructor(desc: string, options: { hint?: string } = {}) {
    super('ERR_QAPI', desc, options)
    this.class = 'GenericError'
  }
}
