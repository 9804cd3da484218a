import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { recent } from '../../ts/server/recent.js'

describe('what was made recently', () => {
  it('is shared while it is made, and for some time after', async () => {
    let made = 0
    const get = recent(async () => {
      await sleep(20)
      made += 1
      return made
    }, 60_000)
    expect(await Promise.all([get(), get(), get()])).toEqual([1, 1, 1])
    expect(await get()).toBe(1)
  })

  it('is made again when it is old', async () => {
    let made = 0
    const get = recent(async () => ++made, 1)
    expect(await get()).toBe(1)
    await sleep(5)
    expect(await get()).toBe(2)
  })

  it('is made again at once if that has failed', async () => {
    let tries = 0
    const get = recent(async () => {
      tries += 1
      if (tries === 1) throw new Error('played')
      return tries
    }, 60_000)
    await expect(get()).rejects.toThrow('played')
    expect(await get()).toBe(2)
  })
})
