/** The places of a server: who gets one when there is none left, and from whom. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { networkOf, Places } from '../../ts/server/places.js'

interface Holder {
  readonly address: string
  isSpare: boolean
  leave: () => void
}

class Hall {
  readonly inside = new Set<Holder>()
  readonly places: Places<Holder>

  constructor(most: number) {
    this.places = new Places(most, ({ isSpare }) => isSpare)
  }

  /** Whether one from this address gets a place. */
  come(address: string, isSpare = false): boolean {
    const leaving = this.places.leaving(address)
    if (leaving === 'full') return false
    if (leaving !== 'none') this.go(leaving)
    const holder: Holder = { address, isSpare, leave: () => {} }
    holder.leave = this.places.enter(address, holder)
    this.inside.add(holder)
    return true
  }

  go(holder: Holder): void {
    holder.leave()
    this.inside.delete(holder)
  }

  of(address: string): Holder[] {
    return [...this.inside].filter(holder => holder.address === address)
  }
}

describe('places', () => {
  it('are all for one network as long as no other one comes', () => {
    const hall = new Hall(4)
    expect([1, 2, 3, 4, 5].map(() => hall.come('192.0.2.1'))).toEqual([
      true,
      true,
      true,
      true,
      false,
    ])
  })

  it('are given up by the network with the most, its oldest first, until both have as many', () => {
    const hall = new Hall(5)
    for (let at = 0; at < 5; at++) hall.come('192.0.2.1')
    const [first, second] = hall.of('192.0.2.1')
    expect(hall.come('192.0.2.2')).toBe(true)
    expect(hall.come('192.0.2.2')).toBe(true)
    expect(hall.of('192.0.2.1')).toHaveLength(3)
    expect(hall.inside.has(first as Holder) || hall.inside.has(second as Holder)).toBe(false)
    expect(hall.come('192.0.2.2')).toBe(false)
    expect(hall.come('192.0.2.1')).toBe(false)
  })

  it('that are spare are given up first, also by the network of the one who comes', () => {
    const hall = new Hall(3)
    hall.come('192.0.2.1')
    hall.come('192.0.2.1', true)
    hall.come('192.0.2.1')
    expect(hall.come('192.0.2.1')).toBe(true)
    expect(hall.of('192.0.2.1').map(({ isSpare }) => isSpare)).toEqual([false, false, false])
    expect(hall.come('192.0.2.1')).toBe(false)
  })

  it('that are spare are not taken from a network that has fewer', () => {
    const hall = new Hall(4)
    hall.come('192.0.2.9', true)
    for (let at = 0; at < 3; at++) hall.come('192.0.2.1')
    expect(hall.come('192.0.2.1')).toBe(false)
    expect(hall.of('192.0.2.9')).toHaveLength(1)
  })

  it('are within their number, and no network is kept out by one that has two more', () => {
    const anyStep = fc.record({
      network: fc.nat(4),
      isSpare: fc.boolean(),
      goes: fc.option(fc.nat(100), { freq: 3 }),
    })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.array(anyStep), (most, steps) => {
        const hall = new Hall(most)
        for (const { network, isSpare, goes } of steps) {
          const one = [...hall.inside][goes ?? -1]
          if (one !== undefined) hall.go(one)
          const address = `192.0.2.${network}`
          const own = hall.of(address).length
          const counts = [0, 1, 2, 3, 4].map(other => hall.of(`192.0.2.${other}`).length)
          const isThere = hall.come(address, isSpare)
          expect(hall.inside.size).toBeLessThanOrEqual(most)
          if (counts.reduce((sum, count) => sum + count) < most) expect(isThere).toBe(true)
          if (Math.max(...counts) > own + 1) expect(isThere).toBe(true)
        }
      }),
    )
  })
})

describe('the network of an address', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['127.0.0.1', 'loopback'],
    ['127.9.9.9', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::1', 'loopback'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:DB8:1:2::6', '2001:db8:1:2'],
    ['2001:db8::', '2001:db8:0:0'],
    ['2001:db8::5:6', '2001:db8:0:0'],
    ['::5:6:7:8:9', '0:0:0:5'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0'],
    ['1:2:3:4:5:6:192.0.2.1', '1:2:3:4'],
    ['::', '0:0:0:0'],
    [undefined, ''],
  ])('%s is %s', (address, network) => {
    expect(networkOf(address)).toBe(network)
  })
})
