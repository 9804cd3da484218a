/**
 * Measures a domain by the commands that libvirt has for it: domdirtyrate-calc and domstats. They
 * leave no trace on the domain, and take whole seconds.
 */

import type { Signal } from '../../ground/abort.js'
import { argumentError } from '../../ground/errors.js'
import type { Method } from '../../measurement/source.js'
import { measureModeOf, measureModes } from '../../qapi/measure-mode.js'
import type { DirtyRateInfo, DirtyRateStatus } from '../../qapi/types.js'
import { isDirtyRateInfo } from '../qemu/answers.js'
import type { LibvirtConnection } from './connection.js'
import type { Identity } from './domain.js'
import { numberIn, odd } from './domain-stats.js'
import type { Way } from './way.js'

/** libvirt measures 1 to 60 whole seconds. */
const LONGEST_S = 60
const MS_PER_SECOND = 1000
/** What QEMU takes if nobody asks for another number, and libvirt cannot ask. */
const SAMPLES_PER_GIB = 512
/** The words for the values of `dirtyrate.calc_status`. */
const STATUSES: readonly DirtyRateStatus[] = ['unstarted', 'measuring', 'measured']

export class ByLibvirt implements Way {
  readonly #connection: LibvirtConnection
  readonly #domain: Identity

  constructor(connection: LibvirtConnection, domain: Identity) {
    this.#connection = connection
    this.#domain = domain
  }

  requirePossible(method: Method, windowMs: number): void {
    const seconds = windowMs / MS_PER_SECOND
    if (!Number.isInteger(seconds) || seconds < 1 || seconds > LONGEST_S) {
      throw argumentError(
        `window: libvirt measures 1 to ${LONGEST_S} whole seconds, and not ${windowMs} ms`,
        'Give 1s, 2s and so on. In the target, outside=yes takes any window, and so does monitor=yes, which marks the domain as tainted.',
      )
    }
    const samples = 'samples' in method ? method.samples.samplesPerGiB : SAMPLES_PER_GIB
    if (samples === SAMPLES_PER_GIB) return
    throw argumentError(
      `samplePages: libvirt measures ${SAMPLES_PER_GIB} pages per GiB, and not ${samples}`,
      'Leave it out. In the target, outside=yes takes any number, and so does monitor=yes, which marks the domain as tainted.',
    )
  }

  async start({ mode }: Method, windowMs: number, signal: Signal): Promise<void> {
    const seconds = String(windowMs / MS_PER_SECOND)
    // Before libvirt 8.1 virsh has no --mode, and always samples.
    const others = mode === 'page-sampling' ? [] : ['--mode', measureModeOf(mode)]
    const command = ['domdirtyrate-calc', '--seconds', seconds, ...others]
    const { uuid, name } = this.#domain
    await this.#connection.ask(command, { domain: uuid, name, signal })
  }

  async look(signal: Signal): Promise<DirtyRateInfo | undefined> {
    const fields = await this.#connection.dirtyRate(this.#domain, signal)
    const number = (key: string): number | undefined => numberIn(fields, `dirtyrate.${key}`)
    const known = number('calc_status')
    if (known === undefined) return undefined
    const rate = number('megabytes_per_second')
    // Versions before 8.1 do not say the mode, and always sample.
    const mode = fields.get('dirtyrate.calc_mode') ?? 'page-sampling'
    const vcpus = [...fields.keys()].flatMap(key => {
      const id = /^dirtyrate\.(vcpu\.(\d+)\.megabytes_per_second)$/.exec(key)
      return id === null ? [] : [{ id: Number(id[2]), 'dirty-rate': number(id[1] ?? '') }]
    })
    const info = {
      status: STATUSES[known],
      ...(rate === undefined ? {} : { 'dirty-rate': rate }),
      'start-time': number('calc_start_time') ?? 0,
      'calc-time': (number('calc_period') ?? 0) * MS_PER_SECOND,
      'calc-time-unit': 'millisecond',
      'sample-pages': mode === 'page-sampling' ? SAMPLES_PER_GIB : 0,
      mode,
      ...(vcpus.length === 0 ? {} : { 'vcpu-dirty-rate': vcpus }),
    }
    if (isDirtyRateInfo(info) && measureModes.some(one => one === mode))
      return info as DirtyRateInfo
    throw odd('domstats', [...fields].map(([key, value]) => `${key}=${value}`).join(' '))
  }
}
