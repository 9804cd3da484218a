/**
 * deploy/container/Containerfile: its own steps install the tarballs. Its base image comes from a
 * registry, which tests do not need; the folders of the image are folders of the test instead.
 */

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { root, run } from '../fixtures/command.js'
import { packages } from './installed.js'
import { expectMeasured } from './programs.js'

const lines = readFileSync(join(root, 'deploy/container/Containerfile'), 'utf8')
  .replace(/\\\n/g, ' ')
  .split('\n')

/** The command of the step that unpacks, without the mount of the tarballs. */
const unpacking = lines
  .find(line => line.startsWith('RUN --mount='))
  ?.replace(/^RUN --mount=\S+/, '')

it('installs a command that measures', async () => {
  const image = mkdtempSync(join(tmpdir(), 'dirtyrate-image-'))
  onTestFinished(() => rmSync(image, { recursive: true, force: true }))
  const bin = join(image, 'usr/local/bin')
  mkdirSync(bin, { recursive: true })
  const command = unpacking
    ?.replaceAll('/packages/', `${packages}/`)
    .replaceAll('/opt/', `${image}/opt/`)
    .replaceAll('/usr/local/bin/', `${bin}/`)
    .replace('dirtyrate --version', `${bin}/dirtyrate --version`)
  const installed = await run('sh', ['-c', command ?? 'false'])
  expect(installed).toMatchObject({ status: 0, stderr: '' })
  expect(installed.stdout).toMatch(/^dirtyrate \d|^\d/)
  const target = 'guest:stride,pages=2000,memory=64MiB'
  expectMeasured(await run(`${bin}/dirtyrate`, ['calc', target, '--window', '200ms', '--json']))
})
