/**
 * How well the pages of a VM compress. This process writes pages that the test knows into the
 * memory of an idle guest, and the program `zstd` compresses the same pages.
 */

import { spawnSync } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { expect, it } from 'vitest'
import { openTarget, type Target, type VirtualMachine, workload } from '../../ts/index.js'
import { predictMigration } from '../../ts/prediction/index.js'
import type { CurveMemory } from '../../ts/results/curve.js'
import { describeKvm, describeWith } from '../fixtures/kvm.js'
import { PAGE, running } from '../fixtures/machine.js'

const MIB = 2 ** 20
/** The test writes these addresses, in the middle of the guest's memory. */
const [FROM, TO] = [16 * MIB, 32 * MIB]
const MEMORY = 64 * MIB

/** Words in a random order. */
function text(bytes: number): Uint8Array {
  const words = 'dirty page of the guest migrates to another host by and on'.split(' ')
  const draws = randomFillSync(new Uint8Array(bytes / 2))
  const made = Array.from(draws, draw => words[draw % words.length]).join(' ')
  return new TextEncoder().encode(made.slice(0, bytes))
}

/** The test writes this text into the whole range. */
const TEXT = text(TO - FROM)

const random = (bytes: number): Uint8Array => randomFillSync(new Uint8Array(bytes))

async function idle(): Promise<VirtualMachine> {
  return running(workload.idle(), { memory: MEMORY })
}

async function fill(vm: VirtualMachine, contents: Uint8Array): Promise<void> {
  for (let at = 0; at < contents.length; at += MIB)
    await vm.writeMemory(FROM + at, contents.subarray(at, at + MIB))
}

async function memoryOf(target: Target, options: object = {}): Promise<CurveMemory> {
  const { memory, warnings } = await target.measureDirtyCurve({
    windows: ['10ms'],
    compressibility: true,
    ...options,
  })
  expect(warnings.map(({ code }) => code)).not.toContain('COMPRESSION_UNKNOWN')
  if (memory === undefined) throw new Error('the curve has no memory')
  return memory
}

/** The ratio of the program, which compresses the pages in one stream. */
function byProgram(contents: Uint8Array): number {
  const { stdout, status } = spawnSync('zstd', ['-1', '-c'], {
    input: contents,
    maxBuffer: 2 ** 30,
  })
  expect(status).toBe(0)
  return stdout.length / contents.length
}

/** Nearly all intervals that are made so have the truth in them. */
const SURE = { mode: 'page-sampling', samplePages: 16_384, confidence: 1 - 1e-6 }

describeWith('zstd', 'the ratio equals what zstd -1 reaches', () => {
  it.each([
    ['of text', TEXT],
    ['of random bytes', random(TO - FROM)],
  ])('%s', async (_, contents) => {
    const vm = await idle()
    await fill(vm, contents)
    const { compressedRatio, compressionBytesPerSecond = 0 } = await memoryOf(vm, SURE)
    // The tables of codes of each flush are a small part of a packet of 512 KiB.
    const wanted = byProgram(contents)
    expect(Math.abs((compressedRatio?.value ?? 0) / wanted - 1)).toBeLessThan(0.02)
    expect(compressionBytesPerSecond).toBeGreaterThan(0)
  })

  it('of both in different parts of the memory', async () => {
    const half = (TO - FROM) / 2
    const contents = Buffer.concat([TEXT.subarray(0, half), random(half)])
    const vm = await idle()
    await fill(vm, contents)
    const { compressedRatio } = await memoryOf(vm, SURE)
    const wanted = byProgram(contents)
    expect(compressedRatio?.low).toBeLessThan(wanted * 1.02)
    expect(compressedRatio?.high).toBeGreaterThan(wanted * 0.98)
    expect((compressedRatio?.high ?? 0) - (compressedRatio?.low ?? 1)).toBeLessThan(0.3)
  })
})

describeKvm('compressibility', () => {
  it('says in an exact mode how many pages are zeros', async () => {
    const vm = await idle()
    await fill(vm, random(TO - FROM))
    const { zeroPages, bytes } = await memoryOf(vm, { mode: 'dirty-bitmap' })
    expect(bytes).toBe(vm.blocks.reduce((sum, block) => sum + block.bytes, 0))
    // 1024 samples, one in each part of the memory: only those at the ends of what is written may
    // differ.
    const wanted = (bytes - (TO - FROM)) / PAGE
    expect(Math.abs((zeroPages?.value ?? 0) - wanted)).toBeLessThan(0.01 * (bytes / PAGE))
  })

  it('has no ratio of a memory that holds next to nothing', async () => {
    const memory = await memoryOf(await idle(), { mode: 'page-sampling' })
    expect(memory.compressedRatio).toBeUndefined()
    expect(memory.zeroPages?.high).toBeGreaterThan(0.9 * (MEMORY / PAGE))
  })

  it('is measured from outside of a process too', async () => {
    const vm = await idle()
    await fill(vm, random(TO - FROM))
    const target = await openTarget(`pid:${process.pid}`)
    try {
      const { compressedRatio } = await memoryOf(target)
      expect(compressedRatio?.value).toBeGreaterThan(0.9)
      expect(compressedRatio?.value).toBeLessThan(1.001)
    } finally {
      await target.close()
    }
  })

  it('is measured once after several curves', async () => {
    const vm = await idle()
    await fill(vm, TEXT)
    const { compressedRatio } = await memoryOf(vm, { repeat: 3 })
    expect(compressedRatio?.value).toBeLessThan(0.5)
  })

  it('makes a way out of what the pages compress to', async () => {
    const vm = await idle()
    await fill(vm, TEXT)
    const memory = await memoryOf(vm, { mode: 'dirty-bitmap' })
    const rate = { low: 100e6, high: 100e6, confidence: 1 }
    const points = [0.1, 1, 2].map(seconds => ({
      windowNs: seconds * 1e9,
      bytesPerSecond: 100e6,
      interval: rate,
    }))
    const { waysOut } = predictMigration(
      { points, memory: { ...memory, bytes: 2 ** 30 } },
      { bandwidth: '60MB/s', downtime: '300ms' },
    )
    const way = waysOut.find(({ kind }) => kind === 'compression')
    const ratio = memory.compressedRatio?.value ?? 0
    expect(way?.verdict).toBe('converges')
    expect(way?.bytesPerSecond?.value).toBeCloseTo(60e6 / ratio, 0)
    const perChannel = memory.compressionBytesPerSecond ?? 1
    expect(way?.channels).toBe(Math.ceil(60e6 / (memory.compressedRatio?.low ?? 1) / perChannel))
  })
})
