/** The golden answers are the answers of the installed QEMU. */

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { root, run } from '../fixtures/command.js'
import { describeWith } from '../fixtures/kvm.js'

const golden: object[] = JSON.parse(
  readFileSync(`${root}/__test__/qapi/golden/qemu-10.json`, 'utf8'),
)

describeWith('qemu-system-x86_64', 'the golden answers', () => {
  // As long as the script asks one QEMU after the other.
  it("are this machine's QEMU's", { timeout: 600_000 }, async () => {
    const { status, stdout, stderr } = await run(process.execPath, [
      `${root}/scripts/qemu/golden.mjs`,
      '--print',
    ])
    expect(status, stderr).toBe(0)
    expect(JSON.parse(stdout)).toEqual(golden)
  })
})
