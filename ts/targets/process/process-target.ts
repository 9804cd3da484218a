/** A VM of any VMM, measured from outside of its process. */

import { parseListener } from '../../ground/arguments.js'
import { callNative } from '../../ground/native.js'
import { isStopped } from '../../ground/proc.js'
import { formatSize } from '../../ground/units.js'
import { MeasuredTarget } from '../measured-target.js'
import type { GuestMemory, TargetDescription, TargetStateChange } from '../target.js'
import { type Chosen, formatRanges } from './guest-memory.js'
import { type Measured, modesOfProcess, type ProcessFigures, ProcessSource } from './source.js'
import { StateWatch } from './state-watch.js'
import { VMM_NAMES } from './vmms/programs.js'
import type { ProcessFacts } from './vmms/vmm.js'

/** What the URI has said. */
export interface GivenMemory {
  readonly isRangeGiven: boolean
  readonly minBytes: number | undefined
  /** The URI, if it is of another kind than `pid:`. */
  readonly uri: string | undefined
}

export class ProcessTarget extends MeasuredTarget<ProcessFigures> {
  readonly #of: Measured
  readonly #facts: ProcessFacts
  readonly #chosen: Chosen
  readonly #given: GivenMemory
  readonly #watch: StateWatch

  /** @internal */
  constructor(of: Measured, facts: ProcessFacts, chosen: Chosen, given: GivenMemory) {
    super(new ProcessSource(of))
    this.#of = of
    this.#facts = facts
    this.#chosen = chosen
    this.#given = given
    this.#watch = new StateWatch(of.pid, of.process)
  }

  get uri(): string {
    const { isRangeGiven, minBytes, uri } = this.#given
    if (uri !== undefined) return uri
    const range = isRangeGiven ? `,range=${formatRanges(this.#chosen.ranges)}` : ''
    const least = minBytes === undefined ? '' : `,min-size=${formatSize(minBytes)}`
    return `pid:${this.#of.pid}${range}${least}`
  }

  /**
   * The process that runs the VM.
   *
   * @internal
   */
  get processId(): number {
    return this.#of.pid
  }

  /** Which memory of the process is the guest's, and why. */
  get guestMemory(): GuestMemory {
    return this.#chosen.description
  }

  async describe(): Promise<TargetDescription> {
    this.requireOpen()
    callNative(() => this.#of.process.check())
    const { ranges, vmm } = this.#chosen
    const { vcpus, program } = this.#facts
    return {
      uri: this.uri,
      memoryBytes: ranges.reduce((sum, { start, end }) => sum + end - start, 0),
      ...(vcpus === 0 ? {} : { vcpus, kvm: true }),
      state: isStopped(this.#of.pid) ? 'paused' : 'running',
      modes: modesOfProcess(),
      software: vmm.id === undefined ? program : VMM_NAMES[vmm.id],
      guestMemory: this.guestMemory,
    }
  }

  /**
   * Calls `listener` within half a second after the process was stopped, was continued, or has
   * ended (`closed`). The returned function removes it.
   */
  onStateChange(listener: (change: TargetStateChange) => void): () => void {
    this.requireOpen()
    return this.#watch.onChange(parseListener(listener, 'listener'))
  }

  /** @internal */
  protected override release(): void {
    this.#watch.stop()
    this.#of.process.close()
  }
}
