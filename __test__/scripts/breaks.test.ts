/** The breaks of the mutation gate: each fits the code as it is, and one that does not is named. */

import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../fixtures/command.js'

interface Break {
  area: string
  name: string
  file: string
  find: string
  replace: string
  test: string
}
interface Breaks {
  loadBreaks(root: string): Promise<Break[]>
  faultsOf(root: string, breaks: Partial<Break>[]): string[]
  testOf(root: string, one: Pick<Break, 'test'>): Record<string, unknown>
  diffOf(one: Break, whole: string): string
}
const { loadBreaks, faultsOf, testOf, diffOf }: Breaks = await import(
  join(root, 'scripts/mutation/breaks.mjs')
)

it('every break fits the code, and so do its test and its name', async () => {
  const breaks = await loadBreaks(root)
  expect(breaks.length).toBeGreaterThan(50)
  expect(faultsOf(root, breaks)).toEqual([])
})

it('what does not fit is named', () => {
  const fits = {
    area: 'here',
    name: 'a',
    file: 'package.json',
    find: '"license":',
    replace: '',
    test: 'rings',
  }
  expect(faultsOf(root, [fits])).toEqual([])
  const faultOf = (change: object): string[] => faultsOf(root, [{ ...fits, ...change }])
  expect(faultOf({ find: 'what is not there' })).toEqual([
    'here: a: the code to break is in package.json 0 times, not once',
  ])
  expect(faultOf({ find: ' ' })[0]).toMatch(
    /^here: a: the code to break is in package\.json \d\d+ times/,
  )
  expect(faultOf({ replace: fits.find })).toEqual(['here: a: it changes nothing'])
  expect(faultOf({ file: 'no/file' })).toEqual(['here: a: there is no file no/file'])
  expect(faultOf({ test: '__test__/no.test.ts' })).toEqual([
    'here: a: there is no test __test__/no.test.ts',
  ])
  expect(faultOf({ test: 'dirtyrate-machine dirty_ring' })).toEqual([
    'here: a: there is no test dirtyrate-machine dirty_ring',
  ])
  expect(faultOf({ test: 'no-such-crate boot' })).toEqual([
    'here: a: there is no test no-such-crate boot',
  ])
  expect(faultOf({ test: 'no_such_test' })).toEqual(['here: a: there is no test no_such_test'])
  expect(faultOf({ tests: 'rings' })).toEqual(['here: a: nobody reads its tests'])
  expect(faultsOf(root, [fits, fits])).toEqual(['here: a: another break of the area has this name'])
})

it('a test is one of cargo, of loom, or of vitest', () => {
  expect(testOf(root, { test: 'rings' })).toMatchObject({
    crate: 'dirtyrate-machine',
    inside: false,
    loom: false,
  })
  expect(testOf(root, { test: 'dirty_memory_model' })).toMatchObject({
    runner: 'cargo',
    inside: false,
  })
  expect(testOf(root, { test: 'signals::tests' })).toMatchObject({ inside: true, loom: false })
  expect(testOf(root, { test: 'loom_models' })).toMatchObject({
    crate: 'dirtyrate',
    inside: true,
    loom: true,
  })
  expect(testOf(root, { test: 'dirtyrate-machine loom_models' })).toMatchObject({
    crate: 'dirtyrate-machine',
    name: 'loom_models',
    loom: true,
  })
  expect(testOf(root, { test: '__test__/ground/units.test.ts -t a size' })).toEqual({
    runner: 'vitest',
    file: '__test__/ground/units.test.ts',
    pattern: 'a size',
  })
})

it('a break is shown as the lines that it changes', () => {
  const one = { area: '', name: '', file: 'f', find: 'b\n  c', replace: 'd', test: '' }
  expect(diffOf(one, 'x\na b\n  c e\ny\n')).toBe('  f:2\n  -a b\n  -  c e\n  +a d e')
  expect(diffOf({ ...one, find: 'y\n', replace: '' }, 'x\ny\n')).toBe('  f:2\n  -y\n  +')
})
