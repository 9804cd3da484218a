import { existsSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'

interface Stamps {
  fingerprint(inputs: string[], extra?: string): string
  unlessCurrent(
    step: { stamp: string; print: string; outputs: () => string[] },
    run: () => void,
  ): boolean
}
const { fingerprint, unlessCurrent }: Stamps = await import(`${root}/scripts/build/stamps.mjs`)

it('a fingerprint is of contents and names, not of times', () => {
  const file = folder()('a', '1')
  const sub = join(dirname(file), 'sub')
  mkdirSync(sub)
  writeFileSync(join(sub, 'b'), '2')
  const first = fingerprint([file, sub])
  utimesSync(file, 0, 0)
  expect(fingerprint([file, sub])).toBe(first)
  expect(fingerprint([file, sub], 'other')).not.toBe(first)
  writeFileSync(file, '2')
  expect(fingerprint([file, sub])).not.toBe(first)
  writeFileSync(file, '1')
  expect(fingerprint([file, sub])).toBe(first)
  writeFileSync(join(sub, 'c'), '')
  expect(fingerprint([file, sub])).not.toBe(first)
})

it('a step runs until it has succeeded, and again when its inputs or its outputs are others', () => {
  const output = folder()('output', '')
  const stamp = join(dirname(output), 'stamps/step')
  let runs = 0
  const go = (print: string): boolean =>
    unlessCurrent({ stamp, print, outputs: () => [output] }, () => void runs++)
  expect(go('1')).toBe(true)
  expect(go('1')).toBe(false)
  expect(go('2')).toBe(true)
  rmSync(output)
  expect(go('2')).toBe(true)
  writeFileSync(output, '')
  const fail = (): boolean =>
    unlessCurrent({ stamp, print: '3', outputs: () => [] }, () => {
      throw new Error('no')
    })
  expect(fail).toThrow('no')
  expect(existsSync(stamp)).toBe(false)
  expect(go('2')).toBe(true)
  expect(runs).toBe(4)
})
