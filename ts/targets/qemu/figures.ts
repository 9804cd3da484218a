/** The figures of a measurement that QEMU made. What QEMU does not say is absent. */

import { native } from '../../ground/native.js'
import type { Samples } from '../../measurement/sampling.js'
import type { Method } from '../../measurement/source.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import type { Figures, Interval } from '../../results/measurement.js'

const MIB = 2 ** 20
const GIB = 2 ** 30
const NS_PER_MS = 1e6
const MS_PER_SECOND = 1000

/** What a finished job says of a VM of `memoryBytes`. The times in `info` are in ms. */
export function figuresOf(
  info: DirtyRateInfo,
  method: Method,
  requestedMs: number,
  memoryBytes: number,
): Figures {
  const rate = (info['dirty-rate'] ?? 0) * MIB
  const ms = info['calc-time']
  const common = {
    window: { requestedMs, ns: ms * NS_PER_MS },
    bytesPerSecond: rate,
    complete: true,
    warnings: [],
  }
  // QEMU rounds down to whole MiB/s.
  const rounded: Interval = { low: rate, high: rate + MIB, confidence: 1 }
  if (method.mode === 'page-sampling') {
    const { samples } = method
    return {
      ...common,
      mode: 'page-sampling',
      interval: sampledInterval(rounded, samples, ms, memoryBytes),
      sampling: { samplesPerGiB: samples.samplesPerGiB },
    }
  }
  if (method.mode === 'dirty-bitmap') return { ...common, mode: 'dirty-bitmap', interval: rounded }
  const vcpus = (info['vcpu-dirty-rate'] ?? []).map(({ id, 'dirty-rate': mib }) => ({
    id,
    bytesPerSecond: mib * MIB,
  }))
  // The rate of the VM is the sum of the rates of its vCPUs, and QEMU rounds each of them down.
  const high = rate + MIB * Math.max(vcpus.length, 1)
  return { ...common, mode: 'dirty-ring', interval: { ...rounded, high }, vcpus }
}

/**
 * The interval of an estimate. QEMU does not say how many samples had changed. But its rate is
 * their share of the memory by the time, so that both ends of the rounded rate give a share.
 */
function sampledInterval(
  { low, high }: Interval,
  { samplesPerGiB, confidence, interval: method }: Samples,
  ms: number,
  memoryBytes: number,
): Interval {
  const samples = Math.floor((memoryBytes / GIB) * samplesPerGiB)
  const most = (memoryBytes * MS_PER_SECOND) / Math.max(ms, 1)
  const end = (rate: number | null): { low: number; high: number } =>
    native().sampleInterval(Math.min((rate ?? 0) / most, 1) * samples, samples, confidence, method)
  return { low: end(low).low * most, high: end(high).high * most, confidence }
}
