/** What a live view hears, and what it may ask for. */

import type { Hub, Position } from '../../dashboard/hub.js'
import type { CurveAnswer, MeasureCurve } from '../../dashboard/records.js'
import type { Feed } from '../../server/live-sockets.js'

/** `measureCurve` throws if no curve is measured. */
export function feedOf(hub: Hub, measureCurve: (target: string) => void): Feed {
  const answerTo = (target: string): CurveAnswer => {
    try {
      measureCurve(target)
      return { kind: 'curve-answer', target, accepted: true }
    } catch (error) {
      const reason = (error as Error).message
      return { kind: 'curve-answer', target, accepted: false, reason }
    }
  }
  return {
    open: (query, send) => {
      const subscription = hub.subscribe({ send }, positionIn(query))
      return {
        heard: message => {
          const target = targetIn(message)
          if (target !== undefined) subscription.answer(answerTo(target))
          return target !== undefined
        },
        end: () => subscription.end(),
        ended: subscription.ended,
      }
    },
  }
}

/** Where a connection before had come to: `run=RUN&after=SEQ`. */
function positionIn(query: URLSearchParams): Position | undefined {
  const run = query.get('run')
  const after = query.get('after') ?? ''
  return run !== null && /^[0-9]{1,15}$/.test(after) ? { run, after: Number(after) } : undefined
}

/** The target of a request for a curve; undefined if the message is none. */
function targetIn(message: string): string | undefined {
  try {
    const { kind, target }: Partial<Record<keyof MeasureCurve, unknown>> = Object(
      JSON.parse(message),
    )
    return kind === 'measureCurve' && typeof target === 'string' ? target : undefined
  } catch {
    return undefined
  }
}
