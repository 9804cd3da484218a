/** The packed package, installed by npm for the rig's machine, in the rig. */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { MEMORY } from '../fixtures/machine.js'

const folder = process.env.DIRTYRATE_RIG_INSTALLED
if (folder === undefined) throw new Error('DIRTYRATE_RIG_INSTALLED: this is a test of a rig')

/** The command, as `npx dirtyrate` runs it. */
async function dirtyrate(...args: string[]): Promise<string> {
  const command = join(folder as string, 'node_modules/dirtyrate/bin/dirtyrate.cjs')
  const { stdout } = await promisify(execFile)(process.execPath, [command, ...args], {
    cwd: folder,
  })
  return stdout
}

describe('the installed package', () => {
  it('measures', async () => {
    const guest = `guest:stride,pages=2000,memory=${MEMORY}`
    const measured = JSON.parse(await dirtyrate('calc', guest, '--window', '1s', '--json'))
    expect(measured).toMatchObject({ schemaVersion: 1, mode: 'dirty-bitmap', complete: true })
    expect(measured.pages).toBeGreaterThan(0)
  })

  it('agrees with the guest in every figure of the demo', async () => {
    const demo = await dirtyrate('demo', '--pages', '2000', '--memory', MEMORY, '--window', '200ms')
    expect(demo).toContain('Every exact measurement agrees with what the guest really wrote.')
  })
})
