import { expect, it } from 'vitest'
import { History } from '../../ts/measurement/history.js'

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
