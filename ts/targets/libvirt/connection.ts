/** A connection to libvirt: its URI, and calls of virsh whose failures are errors of ours. */

import { setImmediate } from 'node:timers/promises'
import { Abort, type Signal } from '../../ground/abort.js'
import { DirtyRateError } from '../../ground/errors.js'
import { hostProcess } from '../../ground/host-process.js'
import { abortable } from '../../ground/pause.js'
import type { QemuVersion } from '../../qmp/greeting.js'
import { UNKNOWN_VERSION } from '../qemu/version.js'
import { START_LIBVIRT, whenRefused } from './advice.js'
import { stoppedProcessOf } from './domain-process.js'
import { type Fields, odd, parseDomainStats } from './domain-stats.js'
import { CALL_MS, virsh } from './virsh.js'

/**
 * The daemon of the system. It is asked if neither the target nor the environment names another.
 */
export const SYSTEM = 'qemu:///system'
/** The daemon of a user's session. */
export const SESSION = 'qemu:///session'

/** The URI that applies to a target which names none. */
export function defaultConnection(): string {
  const given = hostProcess.env.LIBVIRT_DEFAULT_URI
  return given === undefined || given === '' ? SYSTEM : given
}

/** Whether the URI names a daemon of this host. */
export const isLocal = (uri: string): boolean => /^\w+(\+unix)?:\/\/\//.test(uri)

/** How long libvirt may take to examine a QEMU that it has not seen before. */
const EXAMINE_MS = 60_000

/** What is asked of a domain, and how long the answer may take. */
interface Asking {
  readonly domain: string
  /** What errors call it. Default: `domain`. */
  readonly name?: string
  /** The arguments behind the domain. */
  readonly further?: readonly string[]
  readonly signal?: Signal
  readonly timeoutMs?: number
}

/** What is asked of a domain by its UUID, whose answer has its name. */
interface AskingOne extends Asking {
  readonly name: string
}

/** The UUID of a domain, which virsh finds it by, and its name, which answers call it by. */
interface NamedDomain {
  readonly uuid: string
  readonly name: string
}

/** A call that asks for the dirty rates of several domains at once. */
interface SharedCall {
  /** Their UUIDs. */
  readonly domains: Set<string>
  readonly answer: Promise<Map<string, Fields>>
  /** How many measurements wait for it. When none is left, the call is ended. */
  waiting: number
  readonly abort: Abort
}

export class LibvirtConnection {
  readonly uri: string
  #version: Promise<QemuVersion> | undefined
  /** The call that has not begun yet. */
  #next: SharedCall | undefined

  constructor(uri: string) {
    this.uri = uri
  }

  /**
   * Runs `virsh COMMAND -- DOMAIN` and resolves with what it printed. Rejects with
   * ERR_PROGRAM_ABSENT, ERR_TARGET_ABSENT, ERR_TARGET_PERMISSION, ERR_TARGET_TIMEOUT,
   * ERR_MEASURING, ERR_MODE_UNAVAILABLE, ERR_STATE, or the reason of the signal.
   */
  async ask(command: readonly string[], asking: Asking): Promise<string> {
    const { domain, name = domain, further = [], ...options } = asking
    const { timeoutMs = CALL_MS } = options
    // After `--` a name that begins with a dash is no option.
    const args = [...command, '--', domain, ...further]
    const { status, stdout, stderr } = await virsh(args, { connect: this.uri, ...options })
    if (status === 0) return stdout
    if (status === undefined) {
      const stopped = isLocal(this.uri) ? stoppedProcessOf(domain) : undefined
      throw noAnswer(command[0] ?? '', name, timeoutMs, stopped)
    }
    // libvirt names the domain by what it was asked for, which users may not know.
    throw failure(stderr.replaceAll(domain, name), name, this.uri)
  }

  /**
   * The version of the QEMU that libvirt starts. The first caller waits until libvirt has examined
   * this QEMU, which takes seconds; libvirt and this object keep the answer.
   */
  qemuVersion(): Promise<QemuVersion> {
    this.#version ??= this.#askVersion().catch(error => {
      this.#version = undefined
      throw error
    })
    return this.#version
  }

  async #askVersion(): Promise<QemuVersion> {
    const options = { connect: this.uri, timeoutMs: EXAMINE_MS }
    const { status, stdout, stderr } = await virsh(['version'], options)
    if (status === undefined) throw noVersion(this.uri)
    if (status !== 0) throw failure(stderr, this.uri, this.uri)
    const [, major, minor, micro] =
      /^Running hypervisor: QEMU (\d{1,9})\.(\d{1,9})\.(\d{1,9})$/m.exec(stdout) ?? []
    // libvirt may not know the program of a domain that runs.
    if (/^Cannot extract running .* version$/m.test(stdout)) return UNKNOWN_VERSION
    if (major === undefined) throw odd('version', stdout)
    return { major: Number(major), minor: Number(minor), micro: Number(micro), package: '' }
  }

  /** What domstats says of a domain. A busy domain gives only some of it, or nothing. */
  async stats(parts: readonly string[], asking: AskingOne): Promise<Fields> {
    const options = parts.map(part => `--${part}`)
    const text = await this.ask(['domstats', '--nowait', ...options], asking)
    return parseDomainStats(text).get(asking.name) ?? new Map()
  }

  /**
   * The state of a domain's measurement. One call asks for all domains of this connection that are
   * asked for at the same time. The domain is asked for by its UUID, because virsh takes a name
   * that is a number for the id of another domain. The answer has the name.
   */
  async dirtyRate({ uuid, name }: NamedDomain, signal: Signal): Promise<Fields> {
    signal.throwIfAborted()
    this.#next ??= this.#gather()
    const call = this.#next
    call.domains.add(uuid)
    call.waiting++
    const all = await leavable(call, signal)
    // If one of them has ended, libvirt refuses to answer for all, so each is asked by itself.
    return all.get(name) ?? (await this.stats(['dirtyrate'], { domain: uuid, name, signal }))
  }

  #gather(): SharedCall {
    const domains = new Set<string>()
    const abort = new Abort()
    const answer = setImmediate().then(async () => {
      this.#next = undefined
      const args = ['domstats', '--nowait', '--dirtyrate', '--', ...domains]
      const { status, stdout } = await virsh(args, { connect: this.uri, signal: abort })
      return status === 0 ? parseDomainStats(stdout) : new Map<string, Fields>()
    })
    // If everybody has left, nobody hears of the failure.
    answer.catch(() => {})
    return { domains, answer, waiting: 0, abort }
  }
}

/** The answer of a call. Rejects with the reason of `signal` as soon as it is aborted. */
async function leavable(call: SharedCall, signal: Signal): Promise<Map<string, Fields>> {
  try {
    return await abortable(call.answer, signal)
  } catch (error) {
    if (--call.waiting === 0) call.abort.abort(error)
    throw error
  }
}

const connections = new Map<string, LibvirtConnection>()

/** The one connection for a URI, which all targets of this process share. */
export function connectionTo(uri: string): LibvirtConnection {
  const connection = connections.get(uri) ?? new LibvirtConnection(uri)
  connections.set(uri, connection)
  return connection
}

function noVersion(uri: string): DirtyRateError {
  return new DirtyRateError(
    'ERR_TARGET_TIMEOUT',
    `libvirt did not say the version of its QEMU in ${EXAMINE_MS / 1000} s`,
    { hint: `Look whether it answers: virsh -c ${uri} version.` },
  )
}

function noAnswer(
  command: string,
  domain: string,
  timeoutMs: number,
  stopped: { why: string; hint: string } | undefined,
): DirtyRateError {
  const why = stopped === undefined ? '' : `: ${stopped.why}`
  return new DirtyRateError(
    'ERR_TARGET_TIMEOUT',
    `libvirt gave no answer to ${command} for the domain '${domain}' in ${timeoutMs / 1000} s${why}`,
    {
      hint:
        stopped?.hint ??
        'Another job of libvirt has the domain (virsh domjobinfo), or its QEMU does not answer. Try again.',
      details: { domain },
    },
  )
}

const NO_DOMAIN = /failed to get domain|Domain not found/

/** What virsh prints, and what it means. The first that fits counts. */
const MEANINGS: readonly [RegExp, (domain: string, uri: string) => DirtyRateError][] = [
  [
    NO_DOMAIN,
    domain =>
      new DirtyRateError('ERR_TARGET_ABSENT', `libvirt has no domain '${domain}'`, {
        hint: 'virsh list --all names the domains. A domain of a session needs connect=qemu:///session.',
      }),
  ],
  [
    /read only access/,
    (_, uri) =>
      new DirtyRateError('ERR_TARGET_PERMISSION', `the connection ${uri} is read-only`, {
        hint: 'Use the socket of the daemon that can be written to, without socket=…-sock-ro.',
      }),
  ],
  [
    /polkit|authentication|access denied|Permission denied|system bus/i,
    (_, uri) =>
      new DirtyRateError('ERR_TARGET_PERMISSION', `libvirt refuses this user at ${uri}`, {
        hint: isLocal(uri)
          ? `${whenRefused()}.`
          : 'Use a user of that host who is in its group libvirt, or root.',
      }),
  ],
  [
    /no connection driver available for|missing scheme in URI|Failed to parse URI|URI scheme .* not supported|unexpected QEMU URI path|no QEMU URI path|not supported by the connection driver/i,
    (_, uri) =>
      new DirtyRateError('ERR_ARGUMENT', `connect: '${uri}' is no URI of a libvirt with QEMU`, {
        hint: 'Give connect=qemu:///system, connect=qemu:///session or connect=qemu+ssh://HOST/system.',
      }),
  ],
  [
    /failed to connect|Cannot recv data|End of file while reading/,
    (_, uri) =>
      new DirtyRateError('ERR_TARGET_ABSENT', `no daemon of libvirt answers at ${uri}`, {
        hint: `${START_LIBVIRT}. dirtyrate doctor says more.`,
      }),
  ],
  [
    /already being measured/,
    domain =>
      new DirtyRateError(
        'ERR_MEASURING',
        `QEMU measures the dirty rate of '${domain}' for another client`,
        {
          hint: 'QEMU has one job for all of its clients: wait until it has ended, then try again.',
        },
      ),
  ],
  [
    /dirty-ring feature enabled|is not enabled/,
    domain =>
      new DirtyRateError(
        'ERR_MODE_UNAVAILABLE',
        `the domain '${domain}' cannot be measured in this mode`,
        {
          hint: 'A domain with <kvm><dirty-ring state="on"/></kvm> has dirty-ring, others of KVM have dirty-bitmap, and page-sampling is always there.',
        },
      ),
  ],
  [
    /cannot acquire state change lock|Timed out/,
    domain =>
      new DirtyRateError(
        'ERR_TARGET_TIMEOUT',
        `the domain '${domain}' is busy with another job of libvirt`,
        { hint: 'virsh domjobinfo says with which. Try again when it has ended.' },
      ),
  ],
  [
    /domain is not running/,
    domain =>
      new DirtyRateError('ERR_STATE', `the domain '${domain}' does not run`, {
        hint: 'Start it (virsh start), then measure.',
      }),
  ],
]

/** The error that a failed call of virsh stands for. */
export function failure(stderr: string, domain: string, uri: string): DirtyRateError {
  const text = stderr.replace(/^error: /gm, '').trim()
  const meaning = MEANINGS.find(([form]) => form.test(text))?.[1]
  if (meaning !== undefined) {
    const { code, message, hint } = meaning(domain, uri)
    return new DirtyRateError(code, message, { hint, details: { domain, virsh: text } })
  }
  const said = text === '' ? 'virsh failed, and did not say why' : text.split('\n').at(-1)
  return new DirtyRateError('ERR_QAPI', `libvirt: ${said}`, {
    hint: `virsh -c ${uri} domstats ${domain} shows what libvirt can do there; its log has more.`,
    details: { domain, virsh: text },
  })
}

/** Whether libvirt has said that it has no such domain. */
export function isWithoutDomain(error: unknown): boolean {
  return error instanceof DirtyRateError && NO_DOMAIN.test(String(error.details.virsh))
}
