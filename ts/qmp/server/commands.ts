/** The commands that are served, and what each does with its target. */

import { hasCode } from '../../ground/errors.js'
import { QapiError } from '../../qapi/error.js'
import { humanMonitorCommand } from '../../qapi/hmp.js'
import { introspect, type SchemaInfo } from '../../qapi/introspection.js'
import {
  type CommandName,
  type CommandType,
  commandTypes,
  type EventType,
  eventTypes,
  type RunState,
  runStates,
} from '../../qapi/schema.js'
import type { CalcDirtyRateArguments, QueryDirtyRateArguments } from '../../qapi/types.js'
import type { Control, Target } from '../../targets/target.js'
import { VERSION } from './version.js'

/** The part of a target that is served. */
export type ServedTarget = Pick<
  Target,
  'uri' | 'describe' | 'calcDirtyRate' | 'queryDirtyRate' | 'control' | 'onStateChange'
>

type Arguments = Readonly<Record<string, unknown>>
type Action = (args: Arguments) => Promise<unknown>

/** What QEMU calls the states of targets. */
const RUN_STATES: ReadonlyMap<string, RunState> = new Map<string, RunState>([
  ...runStates.map(state => [state, state] as const),
  ['created', 'prelaunch'],
  ['crashed', 'internal-error'],
  ['closed', 'shutdown'],
  // The words of libvirt, where they differ.
  ['blocked', 'running'],
  ['shutting down', 'running'],
  ['shut off', 'shutdown'],
  ['suspended by its guest', 'suspended'],
])

/** Whether the VM has ended, or the way to it. */
export const isGone = (error: unknown): boolean =>
  hasCode(error, 'ERR_TARGET_GONE') || hasCode(error, 'ERR_TARGET_ABSENT')

/** The names of the commands that stop, continue and end a VM. */
export const CONTROLLING: readonly CommandName[] = ['stop', 'cont', 'quit']

export class Commands {
  readonly #target: ServedTarget
  readonly #control: Control | undefined
  readonly #actions: ReadonlyMap<string, Action>
  readonly #lookForEnd: () => Promise<void>
  #schema: readonly SchemaInfo[] | undefined

  /**
   * Without `control`, the commands of {@link CONTROLLING} are not served. `lookForEnd` is called
   * when a command fails as if the target had ended.
   */
  constructor(target: ServedTarget, control: Control | undefined, lookForEnd: () => Promise<void>) {
    this.#target = target
    this.#lookForEnd = lookForEnd
    this.#control = control
    this.#actions = new Map(Object.entries(this.#served()))
  }

  /** The names of the commands, in the order of the schema. */
  get names(): readonly string[] {
    return Object.keys(commandTypes).filter(name => this.#actions.has(name))
  }

  /** The events that clients get: whether the VM stops or goes on cannot always be heard. */
  get #events(): readonly EventType[] {
    const hears = this.#target.onStateChange !== undefined || this.#control !== undefined
    return hears ? Object.values(eventTypes) : [eventTypes.SHUTDOWN]
  }

  /** The type of a command that is served. Throws QEMU's error about any other. */
  find(name: string): CommandType {
    if (this.#actions.has(name)) return commandTypes[name as CommandName]
    const text = CONTROLLING.includes(name as CommandName)
      ? `Command ${name} has been disabled: ${this.#whyNot()}`
      : `The command ${name} has not been found`
    throw new QapiError(text, { class: 'CommandNotFound' })
  }

  /** Runs a command that is served, with arguments that were checked. */
  async run({ name }: CommandType, args: Arguments): Promise<unknown> {
    try {
      return (await this.#actions.get(name)?.(args)) ?? {}
    } catch (error) {
      if (isGone(error)) await this.#lookForEnd()
      throw error
    }
  }

  #whyNot(): string {
    return this.#target.control === undefined
      ? 'this target can be measured, but not controlled'
      : 'the VM is not one of this server, which was started without --allow-control'
  }

  #served(): Partial<Record<CommandName, Action>> {
    const target = this.#target
    const control = this.#control
    return {
      // A client that comes here has negotiated already.
      qmp_capabilities: async () => {
        throw new QapiError('Capabilities negotiation is already complete, command ignored', {
          class: 'CommandNotFound',
        })
      },
      'query-version': async () => VERSION,
      'query-commands': async () => this.names.map(name => ({ name })),
      'query-qmp-schema': async () => this.#introspected(),
      'query-name': async () => ({ name: target.uri }),
      'query-kvm': async () => {
        const { kvm } = await target.describe()
        if (kvm === undefined) throw new QapiError('nobody can say whether KVM runs this VM')
        return { enabled: kvm, present: true }
      },
      'query-memory-size-summary': async () => ({
        'base-memory': (await target.describe()).memoryBytes,
      }),
      'query-status': () => this.#status(),
      'calc-dirty-rate': args => target.calcDirtyRate(args as unknown as CalcDirtyRateArguments),
      'query-dirty-rate': args => target.queryDirtyRate(args as QueryDirtyRateArguments),
      'human-monitor-command': async args => {
        await this.#requireCpu(args['cpu-index'])
        return humanMonitorCommand(target, String(args['command-line']))
      },
      ...(control === undefined
        ? {}
        : {
            stop: () => this.#unless('paused', () => control.pause()),
            cont: () => this.#unless('running', () => control.resume()),
            quit: () => control.shutdown(),
          }),
    }
  }

  #introspected(): readonly SchemaInfo[] {
    const types = this.names.map(name => commandTypes[name as CommandName])
    this.#schema ??= introspect(types, this.#events)
    return this.#schema
  }

  async #status(): Promise<{ status: RunState; running: boolean }> {
    const { state } = await this.#target.describe()
    const status = RUN_STATES.get(state)
    if (status === undefined) throw new QapiError(`the state '${state}' is none of QEMU's`)
    return { status, running: status === 'running' }
  }

  /** QEMU stops a stopped VM, and lets a running one run on, without an error. */
  async #unless(state: RunState, act: () => Promise<void>): Promise<void> {
    if ((await this.#target.describe()).state !== state) await act()
  }

  async #requireCpu(index: unknown): Promise<void> {
    if (index === undefined) return
    // A VM whose vCPUs nobody knows has one at least.
    const { vcpus = 1 } = await this.#target.describe()
    if ((index as number) < 0 || (index as number) >= vcpus)
      throw new QapiError("Parameter 'cpu-index' expects a CPU number")
  }
}
