import { expect, it } from 'vitest'
import { humanMonitorCommand } from '../../ts/index.js'
import { HmpReader } from '../../ts/qapi/hmp-expression.js'

const read = (text: string): bigint => new HmpReader('calc_dirty_rate', text).integer()

it.each([
  ['((1))', 1n],
  [`${'('.repeat(256)}7${')'.repeat(256)}`, 7n],
  [`${'-'.repeat(256)}7`, 7n],
  // What is closed counts no more.
  [Array.from({ length: 1000 }, () => '(1)').join('+'), 1000n],
])('%s is read', (text, value) => expect(read(text)).toBe(value))

it.each(['(', '-', '~', '(-'])('of many %s is refused before the stack is full', start => {
  expect(() => read(`${start.repeat(100_000)}1`)).toThrow('expression nested too deeply')
})

it('the monitor answers such a line as any other that it cannot read', async () => {
  const untouched = {
    calcDirtyRate: () => Promise.reject(new Error('not called')),
    queryDirtyRate: () => Promise.reject(new Error('not called')),
  }
  expect(await humanMonitorCommand(untouched, `calc_dirty_rate ${'('.repeat(20_000)}`)).toBe(
    'expression nested too deeply\r\nTry "help calc_dirty_rate" for more information\r\n',
  )
})
