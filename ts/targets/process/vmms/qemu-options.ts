/** What QEMU's command line says about its guest's memory. It reads no file. */

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
  P: 2 ** 50,
}
const MIB = 2 ** 20
/** The RAM of a QEMU without `-m`. */
const DEFAULT_RAM = 128 * MIB

/** A size of QEMU's: a number with an optional unit. Without one it counts in `unit` bytes. */
function sizeOf(text: string, unit: number): number | undefined {
  const [, number, letter] = /^(\d+(?:\.\d+)?|0x[0-9a-f]+)([BKMGTP]?)$/i.exec(text) ?? []
  if (number === undefined) return undefined
  return Math.round(Number(number) * (letter ? (UNITS[letter.toUpperCase()] ?? unit) : unit))
}

/** The arguments of each `-name` or `--name`. */
function argumentsOf(commandLine: readonly string[], ...names: string[]): string[] {
  const isOption = (word: string): boolean => names.some(name => word.replace(/^--?/, '') === name)
  return commandLine.flatMap((word, at) => {
    const next = commandLine[at + 1]
    return word.startsWith('-') && isOption(word) && next !== undefined ? [next] : []
  })
}

/** The value of `key` in a list of options, or in the JSON object that libvirt writes. */
function optionOf(text: string, key: string): string | undefined {
  if (text.startsWith('{')) {
    try {
      const value: unknown = (JSON.parse(text) as Record<string, unknown>)[key]
      return value === undefined ? undefined : String(value)
    } catch {
      return undefined
    }
  }
  // A comma inside of a value is doubled.
  const parts = text.replaceAll(',,', '\0').split(',')
  return parts.find(part => part.startsWith(`${key}=`))?.slice(key.length + 1)
}

/** The RAM that `-m` gives the guest at its start. */
export function ramSize(commandLine: readonly string[]): number {
  const text = argumentsOf(commandLine, 'm').at(-1)
  if (text === undefined) return DEFAULT_RAM
  return sizeOf(optionOf(text, 'size') ?? text.split(',', 1)[0] ?? '', MIB) ?? DEFAULT_RAM
}

/** The sizes of the objects `memory-backend-…`. */
export function backendSizes(commandLine: readonly string[]): number[] {
  return argumentsOf(commandLine, 'object').flatMap(text => {
    const type = text.startsWith('{') ? optionOf(text, 'qom-type') : text.split(',', 1)[0]
    const size = type?.startsWith('memory-backend-') ? optionOf(text, 'size') : undefined
    return (size === undefined ? undefined : sizeOf(size, 1)) ?? []
  })
}

/** The type in the value of `-machine`, if it has one. */
function machineType(machine: string): string | undefined {
  const [first = ''] = machine.split(',', 1)
  return optionOf(machine, 'type') ?? (/[={]/.test(first) ? undefined : first)
}

/**
 * How much RAM an x86 machine of QEMU has below the hole under 4 GiB; undefined for a machine whose
 * rule is not known here, and with NUMA nodes, whose RAM is several blocks.
 */
export function lowRam(program: string, commandLine: readonly string[]): number | undefined {
  if (!/x86_64|i386|qemu-kvm|^kvm$/.test(program)) return undefined
  if (argumentsOf(commandLine, 'numa').length > 0) return undefined
  // QEMU joins the options of all of them.
  const machines = argumentsOf(commandLine, 'M', 'machine')
  if (machines.some(machine => machine.includes('max-ram-below-4g'))) return undefined
  const type = machines.flatMap(machine => machineType(machine) ?? []).at(-1) ?? 'pc'
  const ram = ramSize(commandLine)
  if (/^(pc-)?q35/.test(type)) return ram >= 0xb000_0000 ? 0x8000_0000 : 0xb000_0000
  if (/^pc(-i440fx|$)/.test(type)) return ram >= 0xe000_0000 ? 0xc000_0000 : 0xe000_0000
  return undefined
}
