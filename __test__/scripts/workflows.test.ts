/**
 * What the workflows may do: nothing that a job does not ask for, and with no action that could
 * change under its name.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root } from '../fixtures/command.js'

const folder = join(root, '.github/workflows')

describe.each(readdirSync(folder))('%s', name => {
  const text = readFileSync(join(folder, name), 'utf8')

  it('starts with no permission', () => {
    expect(text).toMatch(/^permissions: \{\}$/m)
    const jobs = text.slice(text.indexOf('\njobs:\n')).match(/^ {2}[\w-]+:$/gm) ?? []
    expect(jobs.length).toBeGreaterThan(0)
    expect(text.match(/^ {4}permissions:$/gm) ?? []).toHaveLength(jobs.length)
  })

  it('pins each action by its commit', () => {
    const actions = [...text.matchAll(/\buses: (.*)$/gm)].map(([, action]) => action)
    expect(actions.length).toBeGreaterThan(0)
    for (const action of actions)
      expect(action).toMatch(/^(\.\/|[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$)/)
  })
})
