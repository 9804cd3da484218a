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

/** As vitest has it: until `attempt` does not throw, for `timeout` ms at most. */
async function waitFor(attempt, { timeout = 1000, interval = 50 } = {}) {
  for (const deadline = Date.now() + timeout; ; ) {
    try {
      return await attempt()
    } catch (error) {
      if (Date.now() >= deadline) throw error
      await new Promise(resolve => setTimeout(resolve, interval))
    }
  }
}

export const vi = { fn, spyOn, waitFor }
