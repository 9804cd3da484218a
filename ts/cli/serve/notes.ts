/** What `serve` says on standard error about a target. */

import type { RoundsListener } from '../../server/rounds.js'
import { failureOf } from '../failure.js'
import type { Session } from '../session.js'
import { visible } from '../text.js'

/** Says that a target fails, once in a row of failures, and when it is back. */
export function noting(session: Session, uri: string, series: RoundsListener): RoundsListener {
  let code: string | undefined
  const back = (): void => {
    if (code !== undefined) session.note(`${visible(uri)}: it is measured again.`)
    code = undefined
  }
  return {
    described: description => series.described(description),
    followed: () => {
      back()
      series.followed()
    },
    measured: (...result) => {
      back()
      series.measured(...result)
    },
    curveMeasured: (...curve) => series.curveMeasured(...curve),
    curveFailed: error => {
      const { message, hint } = failureOf(error)
      session.note(`${visible(uri)}: no curve: ${message}`)
      session.note(hint)
      series.curveFailed(error)
    },
    failed: (error, retryMs) => {
      const failure = failureOf(error)
      if (failure.code !== code) {
        session.note(`${visible(uri)}: ${failure.message}`)
        session.note(failure.hint)
        const seconds = Math.round(retryMs / 1000)
        session.note(`The target is tried again after ${seconds} s, then more and more rarely.`)
      }
      code = failure.code
      series.failed(error, retryMs)
    },
  }
}
