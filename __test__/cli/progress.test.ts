import { expect, it } from 'vitest'
import { progressLine } from '../../ts/cli/progress.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'
import { dirtyrateOnTerminal, shown } from '../fixtures/terminal.js'

it.each([
  [0, 1000, 'measuring'],
  [0, 2000, 'measuring: 0 s, 2 s left'],
  [61_000, 3_600_000, 'measuring: 1 min 1 s, 58 min 59 s left'],
  [5000, 7_205_000, 'measuring: 5 s, 2 h left'],
  [2400, 2000, 'measuring: 2 s, about to end'],
  [5000, Number.POSITIVE_INFINITY, 'measuring: 5 s'],
])('after %d of %d ms it says %s', (elapsed, expected, line) => {
  expect(progressLine('measuring', elapsed, expected)).toBe(line)
})

describeKvm('on a terminal', () => {
  it('a long measurement has its elapsed and its remaining time, and leaves nothing of it', async () => {
    const guest = `guest:stride,pages=1000,memory=${MEMORY}`
    const { status, stdout } = await dirtyrateOnTerminal(`calc ${guest} --window 2s`)
    expect(status).toBe(0)
    const { rows, overwritten } = shown(stdout)
    expect(
      overwritten.filter(row => /^measuring for 2s: \d s, (\d s left|about to end)$/.test(row))
        .length,
    ).toBeGreaterThanOrEqual(2)
    expect(rows.join('\n')).not.toContain('left')
  })
})
