/** What the command line of a QEMU says: its name, memory, vCPUs, and its QMP monitors. */

const MIB = 2 ** 20
/** What QEMU gives a machine without -m. */
const DEFAULT_MEMORY = 128 * MIB

/** Where a monitor can be reached. */
export type MonitorPlace =
  /** A socket of a path, which the process may have bound below its own working folder. */
  | { readonly path: string }
  | { readonly host: string; readonly port: number }
  /** A socket that QEMU got as a file descriptor. */
  | { readonly fd: number }

export interface QemuArguments {
  readonly name?: string
  readonly memoryBytes: number
  readonly vcpus: number
  readonly accelerator?: string
  /** Its QMP monitors that a client can connect to. */
  readonly monitors: readonly MonitorPlace[]
  /** Which libvirt has made this command line: that of the system, or that of a user's session. */
  readonly libvirt?: 'system' | 'session'
  /** Whether it runs no VM: libvirt has started it for a moment, to ask what this QEMU can do. */
  readonly isProbe: boolean
}

/** The monitor of a QEMU that libvirt asks what it can do. */
const PROBE = /\/libvirt\/qemu\/(?:.*\/)?qmp-[^/]+\/qmp\.monitor$/

/** The values of an option in QEMU's syntax, where `,,` is a comma. */
type Values = ReadonlyMap<string, string>

/** Reads the words of a command line, without the program's name. */
export function parseQemuArguments(words: readonly string[]): QemuArguments {
  const of = (...names: string[]): string[] =>
    words.flatMap((word, at) => {
      const value = words[at + 1]
      return names.includes(word.replace(/^--?/, '')) && word.startsWith('-') && value !== undefined
        ? [value]
        : []
    })
  const name = lastValue(of('name'), 'guest')
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
    memoryBytes: memoryOf(of('m')),
    vcpus: vcpusOf(of('smp')),
    ...(accelerator === undefined ? {} : { accelerator }),
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

/**
 * The values of one option. Its first word may be a value of `implied` without a name. A JSON
 * object, as newer versions of QEMU take for some options, has the same meaning.
 */
export function parseValues(text: string, implied: string): Values {
  const json = text.startsWith('{') ? jsonValues(text) : undefined
  if (json !== undefined) return json
  const values = new Map<string, string>()
  for (const [at, part] of split(text).entries()) {
    const equals = part.indexOf('=')
    if (equals > 0) values.set(part.slice(0, equals), part.slice(equals + 1))
    else if (at === 0) values.set(implied, part)
    else if (part.startsWith('no')) values.set(part.slice(2), 'off')
    else values.set(part, 'on')
  }
  return values
}

function split(text: string): string[] {
  const parts = ['']
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== ',') parts[parts.length - 1] += text[at] ?? ''
    else if (text[at + 1] === ',') {
      parts[parts.length - 1] += ','
      at++
    } else parts.push('')
  }
  return parts
}

function jsonValues(text: string): Values | undefined {
  try {
    const object: unknown = JSON.parse(text)
    if (typeof object !== 'object' || object === null) return undefined
    return new Map(
      Object.entries(object).flatMap(([key, value]) =>
        typeof value === 'object' ? [] : [[key, String(value)] as const],
      ),
    )
  } catch {
    return undefined
  }
}

/** The last value of `key`, which may have no name if it is `implied`. */
function lastValue(
  texts: readonly string[],
  key: string,
  implied: string = key,
): string | undefined {
  return texts
    .map(text => parseValues(text, implied).get(key))
    .findLast(value => value !== undefined)
}

function acceleratorOf(
  words: readonly string[],
  of: (...names: string[]) => string[],
): string | undefined {
  if (words.some(word => /^--?enable-kvm$/.test(word))) return 'kvm'
  const named = of('accel').map(text => parseValues(text, 'accel').get('accel'))
  const ofMachine = lastValue(of('machine', 'M'), 'accel', 'type')
  return named[0] ?? ofMachine?.split(':')[0]
}

function memoryOf(texts: readonly string[]): number {
  const text = lastValue(texts, 'size')
  const [, digits, unit = 'M'] = /^(\d+(?:\.\d+)?)([BKMGTPE]?)/i.exec(text ?? '') ?? []
  if (digits === undefined) return DEFAULT_MEMORY
  // A number without a unit is in MiB.
  const power = 'BKMGTPE'.indexOf((unit === '' ? 'M' : unit).toUpperCase())
  return Math.round(Number(digits) * 1024 ** power)
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

function monitorsOf(
  of: (...names: string[]) => string[],
  chardevs: ReadonlyMap<string, Values>,
): MonitorPlace[] {
  const direct = of('qmp', 'qmp-pretty').flatMap(text => {
    const chardev = /^chardev:(.*)$/s.exec(text)?.[1]
    if (chardev !== undefined) return placeOf(chardevs.get(chardev))
    const [, kind, rest = ''] = /^(unix|tcp|telnet):(.*)$/s.exec(text) ?? []
    if (kind === undefined) return []
    const values = new Map(parseValues(rest, 'address'))
    const address = values.get('address') ?? ''
    const [, host, port] = /^\[?(.*?)\]?:(\d+)$/s.exec(address) ?? []
    if (kind === 'unix') values.set('path', address)
    else values.set('host', host ?? '').set('port', port ?? '')
    return placeOf(values)
  })
  const named = of('mon').flatMap(text => {
    const values = parseValues(text, 'chardev')
    return values.get('mode') === 'control'
      ? placeOf(chardevs.get(values.get('chardev') ?? ''))
      : []
  })
  return [...direct, ...named]
}

/** Where a server listens; nothing for a client, which connects by itself to somebody else. */
function placeOf(values: Values | undefined): MonitorPlace[] {
  if (values === undefined) return []
  const backend = values.get('backend') ?? 'socket'
  const server = values.get('server')
  if (backend !== 'socket' || server === undefined || server === 'off') return []
  const [path, fd, port] = ['path', 'fd', 'port'].map(key => values.get(key))
  if (path !== undefined && path !== '') return [{ path }]
  if (fd !== undefined && /^\d+$/.test(fd)) return [{ fd: Number(fd) }]
  if (port === undefined || !/^\d+$/.test(port)) return []
  const host = values.get('host') ?? ''
  // A server that listens everywhere is reached on this host itself.
  return [
    { host: ['', '0.0.0.0', '::', '*'].includes(host) ? '127.0.0.1' : host, port: Number(port) },
  ]
}
