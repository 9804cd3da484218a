/**
 * The lists of mutants that no test has to notice: what is not listed, and what is listed and no
 * longer survives, is a fault.
 */

import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../fixtures/command.js'

interface Accepted {
  parseAccepted(text: string): Map<string, { count: number; reason: string }>
  readAccepted(path: string): Map<string, { count: number; reason: string }>
  disagreements(
    accepted: Map<string, { count: number; reason: string }>,
    survivors: string[],
    isCovered?: (name: string) => boolean,
  ): string[]
}
const { parseAccepted, readAccepted, disagreements }: Accepted = await import(
  join(root, 'scripts/mutation/accepted.mjs')
)

it('an entry is a mutant without its place, how many survive, and the reason', () => {
  const text =
    '# a comment\n\na.rs: replace < with <= in f # equal\na.rs: delete ! in g x2 # x # y\n'
  expect([...parseAccepted(text)]).toEqual([
    ['a.rs: replace < with <= in f', { count: 1, reason: 'equal' }],
    ['a.rs: delete ! in g', { count: 2, reason: 'x # y' }],
  ])
  expect(() => parseAccepted('a.rs: no reason')).toThrow("line 1 has no ' # ' with a reason")
  expect(() => parseAccepted('a # b\na # c')).toThrow('line 2 lists a again')
})

it('a survivor that is not listed is a fault, and so is a listed mutant that is noticed or gone', () => {
  const accepted = parseAccepted('a.rs: f # because\na.rs: g x2 # because\n')
  const survivors = ['a.rs:1:2: f', 'a.rs:7:1: g', 'a.rs:9:1: g']
  expect(disagreements(accepted, survivors)).toEqual([])
  // Lines move; names do not.
  expect(disagreements(accepted, ['a.rs:5:5: f', ...survivors.slice(1)])).toEqual([])
  expect(disagreements(accepted, [...survivors, 'b.rs:3:4: h'])).toEqual([
    'no test notices b.rs:3:4: h',
  ])
  expect(disagreements(accepted, [...survivors, 'a.rs:2:2: f'])).toEqual([
    'no test notices a.rs:1:2: f: 2 survive, 1 listed',
    'no test notices a.rs:2:2: f: 2 survive, 1 listed',
  ])
  expect(disagreements(accepted, survivors.slice(1))).toEqual([
    'listed as accepted, but 1 of 1 is caught or gone: a.rs: f',
  ])
  expect(disagreements(accepted, survivors.slice(0, 2))).toEqual([
    'listed as accepted, but 1 of 2 is caught or gone: a.rs: g',
  ])
})

it('a part of the mutants speaks only for the entries that it covers', () => {
  const accepted = parseAccepted('a.rs: f # because\nb.rs: g # because\n')
  expect(disagreements(accepted, ['a.rs:1:1: f'], name => name.startsWith('a.rs: '))).toEqual([])
})

it.each(['accepted-mutants.txt', 'accepted-stryker.txt'])('%s can be read', name => {
  for (const { reason } of readAccepted(join(root, 'scripts/mutation', name)).values())
    expect(reason.length).toBeGreaterThan(10)
})
