/**
 * Measures a domain by the monitor of its QEMU, which libvirt passes commands on to. libvirt marks
 * the domain as tainted for as long as it runs, so this is done only if the target asks for it.
 */

import type { Signal } from '../../ground/abort.js'
import { DirtyRateError } from '../../ground/errors.js'
import type { Method } from '../../measurement/source.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import { isRecord, parsed } from '../../qmp/greeting.js'
import { dirtyRateInfoIn } from '../qemu/answers.js'
import { calcArguments, MILLISECONDS, requireWindow } from '../qemu/calc-arguments.js'
import { failure, type LibvirtConnection } from './connection.js'
import type { Identity } from './domain.js'
import { odd } from './domain-stats.js'
import type { Way } from './way.js'

export class ByMonitor implements Way {
  readonly #connection: LibvirtConnection
  readonly #domain: Identity

  constructor(connection: LibvirtConnection, domain: Identity) {
    this.#connection = connection
    this.#domain = domain
  }

  requirePossible(_: Method, windowMs: number): void {
    requireWindow(windowMs)
  }

  async start(method: Method, windowMs: number, signal: Signal): Promise<void> {
    await this.#execute('calc-dirty-rate', calcArguments(method, windowMs), signal)
  }

  async look(signal: Signal): Promise<DirtyRateInfo> {
    return dirtyRateInfoIn(await this.#execute('query-dirty-rate', MILLISECONDS, signal))
  }

  async #execute(command: string, args: object, signal: Signal): Promise<unknown> {
    const { uuid, name } = this.#domain
    const further = [JSON.stringify({ execute: command, arguments: args })]
    const options = { domain: uuid, name, further, signal }
    const text = await this.#connection.ask(['qemu-monitor-command'], options)
    const answer = parsed(text.trim())
    if (answer === undefined) throw odd('qemu-monitor-command', text)
    const { error } = answer
    if (error === undefined && 'return' in answer) return answer.return
    if (!isRecord(error) || typeof error.desc !== 'string') throw odd('qemu-monitor-command', text)
    const { desc } = error
    if (/calc-time-unit/.test(desc)) throw tooOld(name)
    throw failure(desc, name, this.#connection.uri)
  }
}

function tooOld(name: string): DirtyRateError {
  return new DirtyRateError(
    'ERR_UNSUPPORTED',
    `the QEMU of the domain '${name}' measures whole seconds only`,
    { hint: 'Leave monitor=yes out of the target. QEMU 8.2 and later measure milliseconds too.' },
  )
}
