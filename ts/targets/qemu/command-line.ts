/**
 * What the command line of a QEMU says: its name, memory, machine and vCPUs, its QMP monitors, and
 * whether libvirt has made it.
 */

import { type MonitorPlace, monitorsOf } from './monitor-places.js'
import {
  type ArgumentsOf,
  argumentsIn,
  lastValue,
  parseValues,
  sizeOf,
  type Values,
} from './option-syntax.js'

const MIB = 2 ** 20
/** What QEMU gives a machine without -m. */
const DEFAULT_MEMORY = 128 * MIB

/** What the options `-machine` say. */
export interface QemuMachineOptions {
  readonly type?: string
  /** Whether they say where the RAM above 4 GiB begins. */
  readonly hasRamLimit: boolean
}

export interface QemuCommandLine {
  readonly name?: string
  readonly uuid?: string
  readonly memoryBytes: number
  readonly vcpus: number
  readonly accelerator?: string
  readonly machine: QemuMachineOptions
  /** The sizes of the objects `memory-backend-…`. */
  readonly backendBytes: readonly number[]
  /** Whether it has NUMA nodes, so that its RAM may be several blocks. */
  readonly hasNodes: boolean
  /** Its QMP monitors that a client can connect to. */
  readonly monitors: readonly MonitorPlace[]
  /** Which libvirt has made this command line: that of the system, or that of a user's session. */
  readonly libvirt?: 'system' | 'session'
  /** Whether it runs no VM: libvirt has started it for a moment, to ask what this QEMU can do. */
  readonly isProbe: boolean
}

/** The monitor of a QEMU that libvirt asks what it can do. */
const PROBE = /\/libvirt\/qemu\/(?:.*\/)?qmp-[^/]+\/qmp\.monitor$/

/** Reads the words of a command line. The program's name may be among them. */
export function parseQemuCommandLine(words: readonly string[]): QemuCommandLine {
  const of = argumentsIn(words)
  const name = lastValue(of('name'), 'guest')
  const uuid = of('uuid').at(-1)
  const chardevs = new Map(
    of('chardev').flatMap(text => {
      const values = parseValues(text, 'backend')
      const id = values.get('id')
      return id === undefined ? [] : [[id, values] as const]
    }),
  )
  const accelerator = acceleratorOf(words, of)
  const monitors = monitorsOf(of, chardevs)
  return {
    ...(name === undefined ? {} : { name }),
    ...(uuid === undefined ? {} : { uuid }),
    memoryBytes: sizeOf(lastValue(of('m'), 'size'), MIB) ?? DEFAULT_MEMORY,
    vcpus: vcpusOf(of('smp')),
    ...(accelerator === undefined ? {} : { accelerator }),
    machine: machineOf(of('machine', 'M')),
    backendBytes: of('object').flatMap(backendBytes),
    hasNodes: of('numa').length > 0,
    monitors,
    isProbe: monitors.some(place => 'path' in place && PROBE.test(place.path)),
    ...libvirtOf(chardevs, of('object')),
  }
}

/** libvirt gives its QEMU a key, in a folder of its own, and the socket of the monitor. */
function libvirtOf(
  chardevs: ReadonlyMap<string, Values>,
  objects: readonly string[],
): { libvirt?: 'system' | 'session' } {
  const keys = objects.map(text => parseValues(text, 'qom-type'))
  const key = keys.find(values => values.get('id') === 'masterKey0')
  if (key === undefined && chardevs.get('charmonitor')?.has('fd') !== true) return {}
  const isSystem = (key?.get('file') ?? '/var/lib/libvirt/').startsWith('/var/lib/libvirt/')
  return { libvirt: isSystem ? 'system' : 'session' }
}

function machineOf(texts: readonly string[]): QemuMachineOptions {
  const type = lastValue(texts, 'type')
  const hasRamLimit = lastValue(texts, 'max-ram-below-4g', 'type') !== undefined
  return { ...(type === undefined ? {} : { type }), hasRamLimit }
}

/** The size of an object, if it is memory. */
function backendBytes(text: string): number[] {
  const values = parseValues(text, 'qom-type')
  const isMemory = values.get('qom-type')?.startsWith('memory-backend-') === true
  const size = isMemory ? sizeOf(values.get('size'), 1) : undefined
  return size === undefined ? [] : [size]
}

function acceleratorOf(words: readonly string[], of: ArgumentsOf): string | undefined {
  if (words.some(word => /^--?enable-kvm$/.test(word))) return 'kvm'
  const named = of('accel').map(text => parseValues(text, 'accel').get('accel'))
  const ofMachine = lastValue(of('machine', 'M'), 'accel', 'type')
  return named[0] ?? ofMachine?.split(':')[0]
}

function vcpusOf(texts: readonly string[]): number {
  const values = new Map(texts.flatMap(text => [...parseValues(text, 'cpus')]))
  const number = (key: string): number | undefined => {
    const value = Number(values.get(key))
    return Number.isInteger(value) && value > 0 ? value : undefined
  }
  const topology = [
    'drawers',
    'books',
    'sockets',
    'dies',
    'clusters',
    'modules',
    'cores',
    'threads',
  ]
  return (
    number('cpus') ??
    number('maxcpus') ??
    topology.reduce((product, key) => product * (number(key) ?? 1), 1)
  )
}
