/** Which program runs a VM, and what its command line says of the VM. */

import { basename, join, resolve } from 'node:path'
import { linkOf, readText } from '../ground/proc.js'
import { parseQemuArguments, parseValues, type QemuArguments } from './qemu-arguments.js'

/** The programs that are known, and `other` for any other user of KVM. */
export const vmms = [
  'qemu',
  'cloud-hypervisor',
  'firecracker',
  'crosvm',
  'dirtyrate',
  'other',
] as const

export type Vmm = (typeof vmms)[number]

/** What a command line says. */
export interface CommandLine {
  readonly name?: string
  readonly memoryBytes?: number
  readonly vcpus?: number
  readonly qemu?: QemuArguments
}

/** The program of a process, from its file, or else from its command line. */
export function vmmOf(pid: number, program: string): Vmm {
  const name = basename(program)
  if (/^qemu-(system-|kvm$)/.test(name)) return 'qemu'
  if (/^cloud-hyperviso/.test(name)) return 'cloud-hypervisor'
  if (/^firecracker/.test(name)) return 'firecracker'
  if (/^crosvm/.test(name)) return 'crosvm'
  return hasOurBinding(pid) ? 'dirtyrate' : 'other'
}

/** Whether a process has loaded the binding of this package. */
function hasOurBinding(pid: number): boolean {
  return /\/dirtyrate[^/\n]*\.node$/m.test(readText(`/proc/${pid}/maps`) ?? '')
}

/** Reads the command line of a program, and the file of its configuration if it names one. */
export function readCommandLine(vmm: Vmm, words: readonly string[], pid: number): CommandLine {
  const [, ...rest] = words
  if (vmm === 'qemu') {
    const qemu = parseQemuArguments(rest)
    const { name, memoryBytes, vcpus } = qemu
    return { qemu, memoryBytes, vcpus, ...(name === undefined ? {} : { name }) }
  }
  const of = (...names: string[]): string | undefined => optionOf(rest, names)
  if (vmm === 'cloud-hypervisor') {
    return {
      ...size(partOf(of('--memory'), 'size')),
      ...vcpus(partOf(of('--cpus'), 'boot')),
    }
  }
  if (vmm === 'firecracker') return { ...configured(of('--config-file'), pid), ...name(of('--id')) }
  if (vmm === 'dirtyrate') return ours(rest)
  if (vmm !== 'crosvm') return {}
  return {
    ...name(of('--name')),
    ...size(partOf(of('--mem', '-m'), 'size'), MIB),
    ...vcpus(partOf(of('--cpus', '-c'), 'num-cores')),
  }
}

const MIB = 2 ** 20

/** What a configuration of Firecracker says. Its path is one of the files that the process sees. */
function configured(file: string | undefined, pid: number): CommandLine {
  if (file === undefined) return {}
  const seen = resolve(linkOf(pid, 'cwd') ?? '/', file)
  try {
    const machine = JSON.parse(readText(join(`/proc/${pid}/root`, seen)) ?? '')['machine-config']
    return {
      ...vcpus(String(machine?.vcpu_count)),
      ...size(String(machine?.mem_size_mib), MIB),
    }
  } catch {
    // It is not the JSON that Firecracker reads, or it has changed since.
    return {}
  }
}

/** A command of this package has the target that it made in its command line. */
function ours(words: readonly string[]): CommandLine {
  const target = words.find(word => /^(guest|kernel):/.test(word))
  if (target === undefined) return {}
  const memory = parseValues(target, 'name').get('memory')
  return { name: target, ...size(memory?.replace(/iB$/, '') ?? '1G') }
}

/** The value of an option, which follows it or stands behind an equals sign. */
function optionOf(words: readonly string[], names: readonly string[]): string | undefined {
  for (const [at, word] of words.entries()) {
    if (names.includes(word)) return words[at + 1]
    const equals = names.find(name => word.startsWith(`${name}=`))
    if (equals !== undefined) return word.slice(equals.length + 1)
  }
  return undefined
}

const partOf = (text: string | undefined, key: string): string | undefined =>
  text === undefined ? undefined : parseValues(text, key).get(key)

const name = (text: string | undefined): CommandLine => (text === undefined ? {} : { name: text })

function vcpus(text: string | undefined): CommandLine {
  return /^[1-9]\d*$/.test(text ?? '') ? { vcpus: Number(text) } : {}
}

function size(text: string | undefined, unit = 1): CommandLine {
  const [, digits, suffix = ''] = /^(\d+(?:\.\d+)?)([KMGT]?)B?$/i.exec(text ?? '') ?? []
  if (digits === undefined) return {}
  const factor = suffix === '' ? unit : 1024 ** ('KMGT'.indexOf(suffix.toUpperCase()) + 1)
  return { memoryBytes: Math.round(Number(digits) * factor) }
}
