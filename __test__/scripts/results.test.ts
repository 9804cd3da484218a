/**
 * What a run that was broken off goes on from: results, by the hash of the code without its
 * documentation.
 */

import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { root, run } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'

interface Results {
  get(name: string): Record<string, unknown> | undefined
  put(name: string, result: Record<string, unknown>): void
  remove(name: string): void
  log(name: string): string
}
const { openResults }: { openResults(key: string, folder: string): Results } = await import(
  join(root, 'scripts/gates/results.mjs')
)
const { treeKey }: { treeKey(root: string, wanted?: (path: string) => boolean): string } =
  await import(join(root, 'scripts/gates/tree-key.mjs'))

it('a result is kept under its name and its key, and each name has a file of its own', () => {
  const at = dirname(folder()('x', ''))
  const results = openResults('key', at)
  expect(results.get('rig:svm')).toBeUndefined()
  results.put('rig:svm', { ok: true, seconds: 3 })
  results.put('rig/svm', { ok: false })
  expect(openResults('key', at).get('rig:svm')).toEqual({ name: 'rig:svm', ok: true, seconds: 3 })
  expect(results.get('rig/svm')).toMatchObject({ ok: false })
  expect(openResults('other key', at).get('rig:svm')).toBeUndefined()
  results.remove('rig:svm')
  expect(results.get('rig:svm')).toBeUndefined()
  expect(results.get('rig/svm')).toBeDefined()
  expect(results.log('rig:svm')).not.toBe(results.log('rig/svm'))
})

it('a file that was cut off is no result', () => {
  const at = dirname(folder()('x', ''))
  const results = openResults('key', at)
  results.put('a', { ok: true })
  for (const name of readdirSync(join(at, 'key')))
    writeFileSync(join(at, 'key', name), '{"name":"a","ok":tr')
  expect(results.get('a')).toBeUndefined()
})

it('the hash of a clone is that of its code: words alone change nothing, and nothing ignored counts', async () => {
  const write = folder()
  const clone = dirname(write('code.rs', 'fn f() {}'))
  write('README.md', 'words')
  write('LICENSE-MIT', 'words')
  write('.gitignore', 'ignored\n')
  expect(await run('git', ['-C', clone, 'init', '--quiet'])).toMatchObject({ status: 0 })
  const all = (): string => treeKey(clone, () => true)
  const [code, everything] = [treeKey(clone), all()]
  write('README.md', 'other words')
  write('LICENSE-MIT', 'other words')
  write('ignored', 'what is built')
  expect(treeKey(clone)).toBe(code)
  expect(all()).not.toBe(everything)
  write('code.rs', 'fn g() {}')
  expect(treeKey(clone)).not.toBe(code)
  write('code.rs', 'fn f() {}')
  expect(treeKey(clone)).toBe(code)
  write('more.rs', '')
  expect(treeKey(clone)).not.toBe(code)
  rmSync(join(clone, 'more.rs'))
  rmSync(join(clone, 'code.rs'))
  expect(treeKey(clone)).not.toBe(code)
})
