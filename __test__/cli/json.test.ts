/** Compares what the command prints with --json with the schema in the package. */

import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { programFile } from '../../ts/host/program-checks.js'
import { errorCodes, workloadKinds } from '../../ts/index.js'
import { modes } from '../../ts/results/mode.js'
import { dirtyrate, root } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'
import { modesHere } from '../fixtures/modes.js'
import { started } from '../fixtures/programs.js'
import { expectForm, formOf, published, schema } from '../fixtures/schema.js'

const { pageWithTables }: { pageWithTables(): { text: string; made: string } } = await import(
  join(root, 'scripts/build/output-tables.mjs')
)

const guest = `guest:stride,pages=1000,memory=${MEMORY},vcpus=2`

describeKvm('the schema fits', () => {
  it.each(modesHere)('a measurement, a curve and a watch in mode %s', async mode => {
    const [calc, curve, watch] = await Promise.all([
      dirtyrate(['calc', guest, '--window', '20ms', '--mode', mode, '--json']),
      dirtyrate(['curve', guest, '--windows', '10ms,50ms', '--mode', mode, '--json']),
      dirtyrate(['watch', guest, '--every', '20ms', '--count', '2', '--mode', mode, '--json']),
    ])
    expectForm(calc.stdout, 'measurement')
    expectForm(curve.stdout, 'curve')
    const lines = watch.stdout.trimEnd().split('\n')
    expect(lines).toHaveLength(2)
    for (const line of lines) expectForm(line, 'measurement')
  })

  it('a measurement of an overrun ring', async () => {
    const ring = `guest:stride,pages=20000,memory=256MiB,log=ring,ring-entries=1024`
    expectForm(
      (await dirtyrate(['calc', ring, '--window', '50ms', '--json'])).stdout,
      'measurement',
    )
  })

  it('the capabilities and a demo', async () => {
    expectForm((await dirtyrate(['capabilities', '--json'])).stdout, 'capabilities')
    const demo = ['demo', '--pages', '1000', '--memory', MEMORY, '--window', '20ms', '--json']
    expectForm((await dirtyrate(demo)).stdout, 'demo')
  })
})

describe('the schema fits', () => {
  it('the file of a guest', async () => {
    expectForm(
      (await dirtyrate(['guest', '-o', folder()('guest.elf', ''), '--json'])).stdout,
      'guestFile',
    )
  })

  it('the VMs of this host, while one runs, and what this host can measure', async () => {
    const machine = ['-machine', 'none', '-nodefaults', '-display', 'none', '-name', 'schema']
    if (programFile('qemu-system-x86_64') !== undefined) started('qemu-system-x86_64', machine)
    expectForm((await dirtyrate(['list', '--json'])).stdout, 'vmList')
    expectForm((await dirtyrate(['doctor', '--json'])).stdout, 'diagnosis')
  })

  it.each([
    [['nonsense']],
    [['calc', 'guest:nonsense']],
    [['watch', 'guest:idle', '--every', '0s']],
    [[]],
  ])('a failure of %j', async args => {
    const { status, stdout } = await dirtyrate([...args, '--json'])
    expect(status).toBe(2)
    expectForm(stdout, 'failure')
  })

  it('the names that the code has', () => {
    const { mode, guest } = schema().$defs as unknown as {
      mode: { enum: string[] }
      guest: { properties: { workload: { enum: string[] } } }
    }
    expect(mode.enum.toSorted()).toEqual([...modes].sort())
    expect(guest.properties.workload.enum).toEqual([...workloadKinds])
    const failure = formOf(published, 'failure')
    for (const code of errorCodes) {
      expect(failure({ schemaVersion: 1, error: { code, message: 'x', hint: 'y' } })).toBe(true)
    }
  })
})

describe('the schema refuses', () => {
  it.each([
    ['failure', { error: { code: 'ERR_STATE', message: 'x', hint: 'y' } }],
    ['failure', { schemaVersion: 2, error: { code: 'ERR_STATE', message: 'x', hint: 'y' } }],
    ['failure', { schemaVersion: 1, error: { code: 'state', message: 'x', hint: 'y' } }],
    ['interval', { low: 1, high: 2 }],
    ['interval', { low: 1, high: 2, confidence: 95 }],
    ['block', { name: 'ram', guestAddress: 0, bytes: 1, pages: 0.5, windowNs: 1 }],
  ])('a %s that is %j', (name, document) => {
    expect(formOf(published, name)(document)).toBe(false)
  })
})

it('the tables of docs/output.md are those of the schema', () => {
  const { text, made } = pageWithTables()
  expect(text).toBe(made)
})
