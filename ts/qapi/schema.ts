/**
 * The QAPI types, commands and events that this package serves, as data: what QEMU checks arguments
 * by, and what its `query-qmp-schema` says. Names, members and their order are those of QEMU 10.
 */

import { measureModes } from './measure-mode.js'

/** A type that QAPI has by itself. */
export interface BuiltinType {
  readonly meta: 'builtin'
  readonly name: 'int' | 'str' | 'bool' | 'any'
  readonly json: 'int' | 'string' | 'boolean' | 'value'
}

export interface EnumType {
  readonly meta: 'enum'
  readonly values: readonly string[]
}

export interface ArrayType {
  readonly meta: 'array'
  readonly element: QapiType
}

export interface Member {
  readonly name: string
  readonly type: QapiType
  readonly optional?: true
  readonly features?: readonly string[]
}

export interface ObjectType {
  readonly meta: 'object'
  readonly members: readonly Member[]
  /** The member whose value says which of the variants' members there are too. */
  readonly tag?: string
  readonly variants?: readonly { readonly case: string; readonly type: ObjectType }[]
}

export type QapiType = BuiltinType | EnumType | ArrayType | ObjectType

export interface CommandType {
  readonly name: string
  readonly args: ObjectType
  readonly returns: QapiType
  readonly features?: readonly string[]
}

export interface EventType {
  readonly name: string
  readonly data: ObjectType
}

const INT: BuiltinType = { meta: 'builtin', name: 'int', json: 'int' }
const STR: BuiltinType = { meta: 'builtin', name: 'str', json: 'string' }
const BOOL: BuiltinType = { meta: 'builtin', name: 'bool', json: 'boolean' }
const ANY: BuiltinType = { meta: 'builtin', name: 'any', json: 'value' }

const enumOf = (...values: readonly string[]): EnumType => ({ meta: 'enum', values })
const listOf = (element: QapiType): ArrayType => ({ meta: 'array', element })
const object = (...members: readonly Member[]): ObjectType => ({ meta: 'object', members })
const member = (name: string, type: QapiType): Member => ({ name, type })
const optional = (name: string, type: QapiType): Member => ({ name, type, optional: true })

const NOTHING = object()
const STRINGS = listOf(STR)
const TIME_UNIT = enumOf('second', 'millisecond')
const MEASURE_MODE = enumOf(...measureModes)

/** QEMU's `RunState`. */
export const runStates = [
  'debug',
  'inmigrate',
  'internal-error',
  'io-error',
  'paused',
  'postmigrate',
  'prelaunch',
  'finish-migrate',
  'restore-vm',
  'running',
  'save-vm',
  'shutdown',
  'suspended',
  'watchdog',
  'guest-panicked',
  'colo',
] as const

/** QEMU's `RunState`: what a VM is doing. */
export type RunState = (typeof runStates)[number]

const VERSION = object(
  member('qemu', object(member('major', INT), member('minor', INT), member('micro', INT))),
  member('package', STR),
)

const VCPU_RATE = object(member('id', INT), member('dirty-rate', INT))

const DIRTY_RATE_INFO = object(
  optional('dirty-rate', INT),
  member('status', enumOf('unstarted', 'measuring', 'measured')),
  member('start-time', INT),
  member('calc-time', INT),
  member('calc-time-unit', TIME_UNIT),
  member('sample-pages', INT),
  member('mode', MEASURE_MODE),
  optional('vcpu-dirty-rate', listOf(VCPU_RATE)),
)

const META_TYPES = ['builtin', 'enum', 'array', 'object', 'alternate', 'command', 'event'] as const
const JSON_TYPES = enumOf('string', 'number', 'int', 'boolean', 'null', 'object', 'array', 'value')
const FEATURES = optional('features', STRINGS)

/** QEMU's `SchemaInfo`, which describes itself too. */
const SCHEMA_INFO: ObjectType = {
  meta: 'object',
  members: [member('name', STR), member('meta-type', enumOf(...META_TYPES)), FEATURES],
  tag: 'meta-type',
  variants: [
    { case: 'builtin', type: object(member('json-type', JSON_TYPES)) },
    {
      case: 'enum',
      type: object(member('members', listOf(object(member('name', STR), FEATURES))), {
        name: 'values',
        type: STRINGS,
        features: ['deprecated'],
      }),
    },
    { case: 'array', type: object(member('element-type', STR)) },
    {
      case: 'object',
      type: object(
        member(
          'members',
          listOf(
            object(member('name', STR), member('type', STR), optional('default', ANY), FEATURES),
          ),
        ),
        optional('tag', STR),
        optional('variants', listOf(object(member('case', STR), member('type', STR)))),
      ),
    },
    { case: 'alternate', type: object(member('members', listOf(object(member('type', STR))))) },
    {
      case: 'command',
      type: object(member('arg-type', STR), member('ret-type', STR), optional('allow-oob', BOOL)),
    },
    { case: 'event', type: object(member('arg-type', STR)) },
  ],
}

const command = (
  name: string,
  args: ObjectType,
  returns: QapiType,
  features?: readonly string[],
): CommandType => ({ name, args, returns, ...(features === undefined ? {} : { features }) })

/** The name of a command that this package serves. */
export type CommandName =
  | 'qmp_capabilities'
  | 'query-version'
  | 'query-commands'
  | 'query-qmp-schema'
  | 'query-name'
  | 'query-kvm'
  | 'query-memory-size-summary'
  | 'query-status'
  | 'calc-dirty-rate'
  | 'query-dirty-rate'
  | 'human-monitor-command'
  | 'stop'
  | 'cont'
  | 'quit'

/** The commands, by name. */
export const commandTypes: Readonly<Record<CommandName, CommandType>> = {
  qmp_capabilities: command(
    'qmp_capabilities',
    object(optional('enable', listOf(enumOf('oob')))),
    NOTHING,
  ),
  'query-version': command('query-version', NOTHING, VERSION),
  'query-commands': command('query-commands', NOTHING, listOf(object(member('name', STR)))),
  'query-qmp-schema': command('query-qmp-schema', NOTHING, listOf(SCHEMA_INFO)),
  'query-name': command('query-name', NOTHING, object(optional('name', STR))),
  'query-kvm': command(
    'query-kvm',
    NOTHING,
    object(member('enabled', BOOL), member('present', BOOL)),
  ),
  'query-memory-size-summary': command(
    'query-memory-size-summary',
    NOTHING,
    object(member('base-memory', INT), optional('plugged-memory', INT)),
  ),
  'query-status': command(
    'query-status',
    NOTHING,
    object(member('running', BOOL), member('status', enumOf(...runStates))),
  ),
  'calc-dirty-rate': command(
    'calc-dirty-rate',
    object(
      member('calc-time', INT),
      optional('calc-time-unit', TIME_UNIT),
      optional('sample-pages', INT),
      optional('mode', MEASURE_MODE),
    ),
    NOTHING,
  ),
  'query-dirty-rate': command(
    'query-dirty-rate',
    object(optional('calc-time-unit', TIME_UNIT)),
    DIRTY_RATE_INFO,
  ),
  'human-monitor-command': command(
    'human-monitor-command',
    object(member('command-line', STR), optional('cpu-index', INT)),
    STR,
    ['savevm-monitor-nodes'],
  ),
  stop: command('stop', NOTHING, NOTHING),
  cont: command('cont', NOTHING, NOTHING),
  quit: command('quit', NOTHING, NOTHING),
}

/** The name of an event that this package sends. */
export type EventName = 'STOP' | 'RESUME' | 'SHUTDOWN'

/** The events, by name. */
export const eventTypes: Readonly<Record<EventName, EventType>> = {
  STOP: { name: 'STOP', data: NOTHING },
  RESUME: { name: 'RESUME', data: NOTHING },
  SHUTDOWN: {
    name: 'SHUTDOWN',
    data: object(
      member('guest', BOOL),
      member(
        'reason',
        enumOf(
          'none',
          'host-error',
          'host-qmp-quit',
          'host-qmp-system-reset',
          'host-signal',
          'host-ui',
          'guest-shutdown',
          'guest-reset',
          'guest-panic',
          'subsystem-reset',
          'snapshot-load',
        ),
      ),
    ),
  },
}
