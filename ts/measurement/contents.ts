/** What the memory holds, which is measured after the windows of a curve. */

import type { Signal } from '../ground/abort.js'
import { parseFlag } from '../ground/arguments.js'
import { argumentError, isError } from '../ground/errors.js'
import type { DirtyRateCurve } from '../results/curve.js'
import type { Method, Source } from './source.js'

/** Measures what the memory holds. */
type Contents = NonNullable<Source['contents']>

/** The hint for who asks a target for something that only its memory says. */
export const MEASURE_ITS_PROCESS =
  'Leave it out, or measure the process of the VM: pid:PID, or libvirt:NAME,outside=yes.'

/** How to measure the contents, if `wanted`. Throws ERR_ARGUMENT if the target cannot do that. */
export function contentsWanted(wanted: boolean | undefined, source: Source): Contents | undefined {
  if (wanted === undefined || !parseFlag(wanted, 'compressibility')) return undefined
  const contents = source.contents?.bind(source)
  if (contents !== undefined) return contents
  throw argumentError(
    'compressibility: this package does not read the memory of this target',
    MEASURE_ITS_PROCESS,
  )
}

/** The curve, with what its memory holds. A curve is not lost if that cannot be measured. */
export async function withContents<C>(
  curve: C,
  contents: Contents | undefined,
  method: Method,
  signal: Signal,
): Promise<C> {
  if (contents === undefined) return curve
  const { memory, warnings } = curve as DirtyRateCurve
  try {
    const found = await contents(method, signal)
    // The samples of the curve itself say what was zero when it began.
    return { ...curve, memory: { ...found, ...memory } }
  } catch (error) {
    if (signal.aborted) throw error
    const message = `how well the pages compress is not known: ${isError(error) ? error.message : String(error)}`
    return { ...curve, warnings: [...warnings, { code: 'COMPRESSION_UNKNOWN', message }] }
  }
}
