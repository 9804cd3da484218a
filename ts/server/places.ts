/**
 * A limited number of places, which networks share. As long as there is room, everybody gets one.
 * Then the network that has the most places gives one to a network that has fewer, so that nobody
 * keeps all others out.
 */

import { isIP } from 'node:net'
import { isLoopback } from './address.js'

export class Places<T> {
  readonly #most: number
  readonly #isSpare: (one: T) => boolean
  /** Those that have a place, by their networks, in the order in which they came. */
  readonly #held = new Map<string, Set<T>>()
  #taken = 0

  /** `isSpare` says whether one may lose its place to another one of the same network. */
  constructor(most: number, isSpare: (one: T) => boolean = () => false) {
    this.#most = most
    this.#isSpare = isSpare
  }

  /** Who has to leave so that one from this address may come; `full` if it may not come. */
  leaving(address: string | undefined): T | 'none' | 'full' {
    if (this.#taken < this.#most) return 'none'
    const own = this.#held.get(networkOf(address)) ?? new Set()
    const networks = [...this.#held.values()].sort((one, other) => other.size - one.size)
    for (const held of networks.filter(({ size }) => size >= own.size)) {
      const spare = [...held].find(this.#isSpare)
      if (spare !== undefined) return spare
    }
    const [largest = own] = networks
    // A network that had one place less than another one would have to give it back at once.
    if (own.size + 1 >= largest.size) return 'full'
    const [first] = largest
    return first ?? 'full'
  }

  /** One has come from this address. The returned function says that it has left. */
  enter(address: string | undefined, one: T): () => void {
    const network = networkOf(address)
    const held = this.#held.get(network) ?? new Set()
    this.#held.set(network, held.add(one))
    this.#taken++
    return () => {
      if (!held.delete(one)) return
      this.#taken--
      if (held.size === 0) this.#held.delete(network)
    }
  }
}

/** Half of the bits of an IPv6 address are its owner's own. */
const OWN_GROUPS = 4
const GROUPS = 8

/** What all addresses of one owner have in common, as far as an address shows it. */
export function networkOf(address = ''): string {
  if (isLoopback(address)) return 'loopback'
  const [plain = ''] = address
    .toLowerCase()
    .replace(/^::ffff:(?=[0-9.]+$)/, '')
    .split('%')
  if (isIP(plain) !== 6) return plain
  const [before = '', after] = plain.split('::')
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'))
  const behind = groups(after ?? '')
  // An IPv4 address at the end stands for two groups, and is not in the first half.
  const known = groups(before).length + behind.length + (plain.includes('.') ? 1 : 0)
  const zeros = after === undefined ? 0 : GROUPS - known
  const all = [...groups(before), ...new Array<string>(zeros).fill('0'), ...behind]
  return all.slice(0, OWN_GROUPS).join(':')
}
