/**
 * Each example in the clone, where `dirtyrate` is the package itself, prints what its comment says.
 */

import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root, run } from './fixtures/command.js'
import { describeKvm } from './fixtures/kvm.js'
import { lastingLines } from './install/docs.js'
import { examples } from './install/examples.js'

describeKvm('the example', () => {
  it.each(examples)('$name', async ({ name, prints }) => {
    const { status, stdout, stderr } = await run(process.execPath, [join(root, 'examples', name)])
    // This kernel has no dirty rings: the example says so.
    if (name === 'rings-by-vcpu.mjs' && status === 3) {
      expect(stderr).toContain('this kernel has no dirty ring')
      return
    }
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(lastingLines(stdout)).toEqual(lastingLines(prints))
  })
})
