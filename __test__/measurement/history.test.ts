import { expect, it } from 'vitest'
import { History } from '../../ts/measurement/history.js'

it('a history that is limited later drops the oldest ones at once', () => {
  const history = new History<number>(5)
  for (let entry = 1; entry <= 4; entry++) history.add(entry)
  history.limit(2)
  expect(history.entries()).toEqual([3, 4])
  history.add(5)
  expect(history.entries()).toEqual([4, 5])
  history.limit(0)
  history.add(6)
  expect(history.entries()).toEqual([])
  history.limit(2)
  for (let entry = 7; entry <= 9; entry++) history.add(entry)
  expect(history.entries()).toEqual([8, 9])
})

it.each([0, 1, 3])('a history has the last %d, and gives a list that does not change', size => {
  const history = new History<number>(size)
  expect(history.entries()).toEqual([])
  for (let entry = 1; entry <= 5; entry++) history.add(entry)
  expect(history.entries()).toEqual([1, 2, 3, 4, 5].slice(5 - size))
  const before = history.entries()
  history.add(6)
  expect(before).toHaveLength(size)
  before.push(7)
  expect(history.entries()).not.toContain(7)
})
