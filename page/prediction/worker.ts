/** The worker: predicts, so that the page stays smooth. The curve of 1 TiB takes seconds. */

import { isDirtyRateError } from '../../ts/ground/errors.js'
import { parseCurve } from '../../ts/prediction/input.js'
import { bandwidthsAround, downtimesAround, matrixRows } from '../../ts/prediction/matrix.js'
import { predict, predictBriefly } from '../../ts/prediction/migration.js'
import { parseMigrationOptions } from '../../ts/prediction/options.js'
import type { Answer, Task } from './tasks.js'

const answer = (one: Answer): void => postMessage(one)

addEventListener('message', ({ data }: MessageEvent<Task>) => {
  try {
    solve(data)
    answer({ id: data.id, kind: 'done' })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const hint = isDirtyRateError(error) ? error.hint : undefined
    answer({ id: data.id, kind: 'error', message, ...(hint === undefined ? {} : { hint }) })
  }
})

function solve(task: Task): void {
  const { id, bytesPerSecond, downtimeMs } = task
  const input = parseCurve(task.curve)
  const vcpus = task.kind === 'prediction' ? task.vcpus : undefined
  const wanted = parseMigrationOptions({ bandwidth: bytesPerSecond, downtime: downtimeMs, vcpus })
  switch (task.kind) {
    case 'verdict':
      answer({ id, kind: 'verdict', verdict: predictBriefly(input, wanted).verdict })
      break
    case 'prediction':
      answer({ id, kind: 'prediction', prediction: predict(input, wanted) })
      break
    case 'matrix': {
      const rates = bandwidthsAround(bytesPerSecond)
      const rows = matrixRows(input, wanted, rates, downtimesAround(wanted.downtime))
      let row = 0
      for (const cells of rows) answer({ id, kind: 'row', row: row++, cells })
    }
  }
}
