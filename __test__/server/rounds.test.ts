/**
 * The rounds of a target: when they come, what ends them, and what comes after a failure. The
 * target is a played one, because no VM can be made to fail in each of these ways.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { DirtyRateError, type ErrorCode } from '../../ts/ground/errors.js'
import { hostPace, type Pace } from '../../ts/server/pace.js'
import { Rounds, type RoundsListener, type RoundsPlan, retryAfter } from '../../ts/server/rounds.js'
import type { Target, TargetDescription } from '../../ts/targets/target.js'

const EVERY_MS = 20
/** How long a curve takes that is asked for. */
const CURVE_MS = 50

/** What a played target does in a call: it resolves, or rejects. */
interface Play {
  readonly describe?: (round: number) => Partial<TargetDescription>
  readonly measure?: (round: number, signal: AbortSignal) => Promise<void>
  readonly curve?: () => Promise<void>
}

/** Runs rounds of played targets until `until` says so. Returns what happened, in order. */
async function played(
  play: Play,
  until: (events: readonly string[]) => boolean,
  plan: Partial<RoundsPlan> = {},
): Promise<string[]> {
  const events: string[] = []
  const stop = new AbortController()
  const say = (event: string): void => {
    events.push(event)
    if (until(events)) stop.abort()
  }
  let running = 0
  const alone = async <T>(call: () => Promise<T>): Promise<T> => {
    running += 1
    if (running > 1) events.push('TWO AT ONCE')
    try {
      return await call()
    } finally {
      running -= 1
    }
  }
  let round = 0
  const open = async (): Promise<Target> => {
    say('open')
    const target: Pick<Target, 'describe' | 'close'> & Record<string, unknown> = {
      describe: async () => play.describe?.(++round) as TargetDescription,
      measureDirtyRate: ({ signal }: { signal: AbortSignal }) =>
        alone(async () => {
          await play.measure?.(round, signal)
          return {}
        }),
      measureDirtyCurve: () =>
        alone(async () => {
          await play.curve?.()
          return {}
        }),
      close: async () => say('close'),
    }
    return target as unknown as Target
  }
  const listener: RoundsListener = {
    described() {},
    followed: () => say('followed'),
    measured: () => say('measured'),
    curveMeasured: async () => say('curve'),
    curveFailed: error => say(`no curve: ${(error as DirtyRateError).code}`),
    failed: (error, retryMs) => say(`failed: ${(error as DirtyRateError).code} ${retryMs}`),
  }
  const rounds = new Rounds(
    open,
    { everyMs: EVERY_MS, offsetMs: 0, measuring: {}, ...plan },
    listener,
  )
  await rounds.run(stop.signal)
  return events
}

const fails = (code: ErrorCode): Promise<never> =>
  Promise.reject(new DirtyRateError(code, 'played'))
const describing = (): Partial<TargetDescription> => ({})

describe('rounds', () => {
  it('measure one after the other, until they are told to end, and then close', async () => {
    const events = await played({ describe: describing }, all => all.length === 4)
    expect(events).toEqual(['open', 'measured', 'measured', 'measured', 'close'])
  })

  it('measure no two things of one target at once, also if each takes longer than a round', async () => {
    const slow = (): Promise<void> => sleep(EVERY_MS * 1.5).then(() => undefined)
    const curve = { everyMs: 0, windows: () => [1], measuring: {} }
    const events = await played(
      { describe: describing, measure: slow, curve: slow },
      all => all.length === 7,
      { curve },
    )
    expect(events).toEqual([
      'open',
      ...['measured', 'curve', 'measured', 'curve', 'measured', 'curve'],
      'close',
    ])
  })

  it('measure a curve only when it is due', async () => {
    const curve = { everyMs: 3_600_000, windows: () => [1], measuring: {} }
    const events = await played({ describe: describing }, all => all.length === 5, { curve })
    expect(events).toEqual(['open', 'measured', 'curve', 'measured', 'measured', 'close'])
  })

  it('measure a curve that is asked for, but not right after another one', async () => {
    const answers: string[] = []
    let begun = 0
    const stop = new AbortController()
    const target = {
      describe: async () => ({}),
      measureDirtyRate: async () => ({}),
      measureDirtyCurve: async () => {
        begun = performance.now()
        await sleep(CURVE_MS)
        return {}
      },
      close: async () => {},
    } as unknown as Target
    const ask = (mayAsk = true): string => rounds.wantCurve(() => mayAsk)
    const listener: RoundsListener = {
      described() {},
      followed() {},
      curveFailed() {},
      failed() {},
      measured() {},
      curveMeasured: async () => {
        answers.push('curve')
        if (answers.length > 1) stop.abort()
      },
    }
    const curve = { everyMs: 3_600_000, windows: () => [1], measuring: {} }
    const plan = { everyMs: EVERY_MS, offsetMs: 0, measuring: {} }
    const rounds = new Rounds(async () => target, { ...plan, curve }, listener)
    // The first one comes anyway, whoever asks.
    expect(ask(false)).toBe('coming')
    const running = rounds.run(stop.signal)
    await expect.poll(() => answers.length).toBe(1)
    expect(ask()).toBe('recent')
    const first = begun
    await expect.poll(() => ask(false), { interval: 5 }).toBe('refused')
    expect(performance.now() - first).toBeGreaterThanOrEqual(5 * CURVE_MS)
    expect(ask()).toBe('coming')
    expect(ask(false)).toBe('coming')
    await running
    expect(answers).toEqual(['curve', 'curve'])
    const never = new Rounds(async () => target, plan, listener)
    expect(never.wantCurve()).toBe('never')
  })

  it('begin with a curve, and spread the later curves of several targets', async () => {
    const between = async (offsetMs: number): Promise<number> => {
      const at: number[] = []
      const curve = { everyMs: 600, windows: () => [1], measuring: {} }
      const play = {
        describe: describing,
        curve: async () => {
          at.push(performance.now())
        },
      }
      await played(play, all => all.filter(event => event === 'curve').length === 2, {
        curve,
        offsetMs,
      })
      return (at[1] ?? 0) - (at[0] ?? 0)
    }
    const [early, late] = await Promise.all([between(EVERY_MS / 4), between(0)])
    // A quarter of the period, and a whole one. Timers may come 1 ms too early.
    expect(early).toBeGreaterThanOrEqual(150 - 1)
    expect(late).toBeGreaterThanOrEqual(600 - 1)
    expect(early).toBeLessThan(late)
  })

  it('go on if a curve fails', async () => {
    const curve = { everyMs: 3_600_000, windows: () => [1], measuring: {} }
    const events = await played(
      { describe: describing, curve: () => fails('ERR_TARGET_TIMEOUT') },
      all => all.length === 4,
      { curve },
    )
    expect(events).toEqual([
      'open',
      'measured',
      'no curve: ERR_TARGET_TIMEOUT',
      'measured',
      'close',
    ])
  })

  it('follow a VM that migrates, and measure it before and after', async () => {
    const events = await played(
      {
        describe: round => ({ migration: { status: 'active', underWay: round === 2 } }),
      },
      all => all.length === 4,
    )
    expect(events).toEqual(['open', 'measured', 'followed', 'measured', 'close'])
  })

  it('end within a measurement, which hears of it', async () => {
    const stop = new AbortController()
    const heard: unknown[] = []
    const target = {
      describe: describing,
      measureDirtyRate: ({ signal }: { signal: AbortSignal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            heard.push(signal.reason)
            reject(signal.reason)
          })
          stop.abort('over')
        }),
      close: async () => heard.push('closed'),
    } as unknown as Target
    const plan = { everyMs: EVERY_MS, offsetMs: 0, measuring: {} }
    const listener = { described() {} } as unknown as RoundsListener
    await new Rounds(async () => target, plan, listener).run(stop.signal)
    expect(heard).toEqual(['over', 'closed'])
  })
})

it.each([
  [{}, 2 ** 21],
  [{ cells: false }, undefined],
])('a window has cells with the plan %j: %s', async (plan, cells) => {
  const stop = new AbortController()
  const asked: unknown[] = []
  const target = {
    suitableCellBytes: 2 ** 21,
    describe: async () => ({}),
    measureDirtyRate: async (options: { cells?: number }) => {
      asked.push(options.cells)
      stop.abort()
      return {}
    },
    close: async () => {},
  } as unknown as Target
  const listener = { described() {}, measured() {} } as unknown as RoundsListener
  const all = { everyMs: EVERY_MS, offsetMs: 0, measuring: {}, ...plan }
  await new Rounds(async () => target, all, listener).run(stop.signal)
  expect(asked).toEqual([cells])
})

it('a round that is stopped while it waits for its first turn has ended once', async () => {
  const stop = new AbortController()
  let [begun, ended] = [0, 0]
  const pace: Pace = {
    ...hostPace,
    begun: () => {
      begun++
      return () => {
        ended++
      }
    },
  }
  const open = async (): Promise<Target> => {
    setTimeout(() => stop.abort('over'), 20)
    return { close: async () => {} } as unknown as Target
  }
  const plan = { everyMs: EVERY_MS, offsetMs: 60_000, measuring: {} }
  await new Rounds(open, plan, {} as RoundsListener, pace).run(stop.signal)
  expect([begun, ended]).toEqual([1, 1])
})

describe('after a failure', () => {
  it('the target is tried again, more and more rarely, until it is measured', async () => {
    const events = await played(
      {
        describe: describing,
        measure: round => (round <= 3 ? fails('ERR_PAUSED') : Promise.resolve()),
      },
      all => all.includes('measured'),
    )
    expect(events).toEqual([
      'open',
      'failed: ERR_PAUSED 20',
      'failed: ERR_PAUSED 40',
      'failed: ERR_PAUSED 80',
      'measured',
      'close',
    ])
  })

  it('the waits begin anew with the next one', async () => {
    const events = await played(
      {
        describe: describing,
        measure: round => (round === 3 ? Promise.resolve() : fails('ERR_PAUSED')),
      },
      all => all.length === 5,
    )
    expect(events.slice(1, 5)).toEqual([
      'failed: ERR_PAUSED 20',
      'failed: ERR_PAUSED 40',
      'measured',
      'failed: ERR_PAUSED 20',
    ])
  })

  it('a target that was lost is opened again', async () => {
    const events = await played(
      {
        describe: describing,
        measure: round => (round === 2 ? fails('ERR_TARGET_GONE') : Promise.resolve()),
      },
      all => all.filter(event => event === 'measured').length === 2,
    )
    expect(events).toEqual([
      'open',
      'measured',
      'close',
      'failed: ERR_TARGET_GONE 20',
      'open',
      'measured',
      'close',
    ])
  })

  it('a mistake in what was asked for ends the rounds, if it is there from the beginning', async () => {
    const mistake = { describe: describing, measure: () => fails('ERR_ARGUMENT') }
    await expect(played(mistake, () => false)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' })
    // Later it is the VM that has changed.
    const events = await played(
      {
        describe: describing,
        measure: round => (round === 2 ? fails('ERR_ARGUMENT') : Promise.resolve()),
      },
      all => all.some(event => event.startsWith('failed')),
    )
    expect(events.at(-1)).toBe('failed: ERR_ARGUMENT 20')
  })

  it('no wait is longer than five minutes, or than a round', () => {
    expect([1, 2, 3, 50, 5000].map(failures => retryAfter(10_000, failures))).toEqual([
      10_000, 20_000, 40_000, 300_000, 300_000,
    ])
    expect([1, 2].map(failures => retryAfter(3_600_000, failures))).toEqual([3_600_000, 3_600_000])
  })
})
