// In the rig, the tests import this as 'vitest'. It is vitest's own runner and assertions, without
// the rest of vitest, which takes minutes to load on an emulated machine.

import {
  chai,
  customMatchers,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
} from '@vitest/expect'
import { fn, spyOn } from '@vitest/spy'

export {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  it,
  onTestFinished,
  test,
} from '@vitest/runner'

for (const plugin of [JestExtend, JestChaiExpect, JestAsymmetricMatchers]) chai.use(plugin)
// A failure is all that is seen of a rig.
chai.config.truncateThreshold = 1000
chai.expect.extend(chai.expect, customMatchers)
export const expect = chai.expect

/** What vitest waits for in 1 s may take this long on a machine that is emulated. */
const LEAST_PATIENCE_MS = 60_000

/** As vitest has it: until `attempt` does not throw, for `timeout` ms at most. */
async function waitFor(attempt, { timeout = 1000, interval = 50 } = {}) {
  for (const deadline = Date.now() + Math.max(timeout, LEAST_PATIENCE_MS); ; ) {
    try {
      return await attempt()
    } catch (error) {
      if (Date.now() >= deadline) throw error
      await new Promise(resolve => setTimeout(resolve, interval))
    }
  }
}

/** As vitest has it: the matchers of what `read` gives, each until it holds. */
expect.poll = (read, options) => matchers(assert => waitFor(assert, options), read)

function matchers(until, read, isNot = false) {
  const matcher = name =>
    name === 'not'
      ? matchers(until, read, true)
      : (...args) =>
          until(async () => {
            const found = expect(await read())
            return (isNot ? found.not : found)[name](...args)
          })
  return new Proxy({}, { get: (_, name) => matcher(name) })
}

export const vi = { fn, spyOn, waitFor }
