import { expect, it } from 'vitest'
import { workload } from '../../../ts/index.js'
import { full } from '../../fixtures/kvm.js'
import { MEMORY, MEMORY_BYTES, PAGE, running, sleep } from '../../fixtures/machine.js'
import { describeMode, exactModesHere, logFor } from '../../fixtures/modes.js'
import { besidesLength, covers, expectTruth } from '../../fixtures/truth.js'

const mode = 'page-sampling'

describeMode(mode, 'a measurement by page sampling', () => {
  it('has the shape that the JSON has', async () => {
    const vm = await running(workload.stride({ pages: 2000, rate: '20MiB/s' }))
    const measurement = await vm.measureDirtyRate({
      window: '100ms',
      mode,
      samplePages: 4096,
      confidence: 0.9,
    })
    const n = expect.any(Number)
    const bytes = MEMORY_BYTES
    // 4096 per GiB.
    const samples = (4096 * bytes) / 2 ** 30
    expect(JSON.parse(JSON.stringify(measurement))).toEqual({
      schemaVersion: 1,
      target: `guest:stride,pages=2000,rate=20MiB/s,memory=${MEMORY},vcpus=1`,
      mode,
      startedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      window: { requestedMs: 100, ns: n, skewNs: n },
      bytesPerSecond: n,
      interval: { low: n, high: n, confidence: 0.9 },
      pages: n,
      pageSize: PAGE,
      blocks: [
        {
          name: 'ram',
          guestAddress: 0,
          bytes,
          pages: n,
          windowNs: n,
          sampling: {
            samples,
            hits: n,
            zeroPages: n,
            pages: { low: n, high: n, confidence: 0.9 },
          },
        },
      ],
      sampling: { samples: n, hits: n, zeroPages: n, samplesPerGiB: 4096 },
      cost: expect.objectContaining({ hashNs: n }),
      complete: true,
      warnings: expect.any(Array),
      qapi: expect.objectContaining({ status: 'measured', mode, 'sample-pages': 4096 }),
      truth: { low: n, pages: n, high: n },
    })
    expect(besidesLength(measurement.warnings)).toEqual([])
    expect(measurement.sampling?.samples).toBe(samples)
    const { low, high } = measurement.interval
    expect(low).toBeLessThanOrEqual(measurement.bytesPerSecond)
    expect(high).toBeGreaterThanOrEqual(measurement.bytesPerSecond)
    // There is one block: its share is all.
    const [block] = measurement.blocks ?? []
    expect(block).toMatchObject({
      pages: measurement.pages,
      sampling: { hits: measurement.sampling?.hits },
    })
    expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
  })

  it('covers what the guest counted, as often as it says', async () => {
    const vm = await running(workload.stride({ pages: 4000 }))
    const rounds = full ? 100 : 30
    let missed = 0
    for (let round = 0; round < rounds; round++) {
      const measurement = await vm.measureDirtyRate({
        window: 60,
        mode,
        samplePages: 4096,
        confidence: 0.99,
      })
      if (!covers(measurement)) missed++
    }
    // Binomial: at 1 % each, more misses than this have a probability below 1e-6.
    expect(missed).toBeLessThanOrEqual(full ? 10 : 6)
  })

  it('reads nothing of a guest that writes nothing, and nothing of silent writes', async () => {
    const idle = await running(workload.idle())
    const nothing = await idle.measureDirtyRate({ window: 50, mode })
    expect(nothing.sampling?.hits).toBe(0)
    expect(nothing).toMatchObject({ pages: 0, bytesPerSecond: 0, interval: { low: 0 } })
    // Zero hits are no proof of zero pages.
    expect(nothing.interval.high).toBeGreaterThan(0)
    await idle.close()

    const silent = await running(workload.silent({ pages: 8000 }))
    // The first pass over the pages does change them.
    while ((silent.workload?.instant().writes[0] ?? 0) < 8000) await sleep(5)
    // And a whole pass is within the window, however little of the processor the guest gets.
    for (let window = 300; ; window *= 2) {
      const [blind, exact] = await Promise.all([
        silent.measureDirtyRate({ window, mode, samplePages: 16_384 }),
        silent.measureDirtyRate({ window }),
      ])
      // All but what changes in each VM: its mailbox, which a sample may be of.
      expect(blind.sampling?.hits).toBeLessThanOrEqual(3)
      if ((exact.truth?.low ?? 0) < 8000) continue
      expect(exact.pages).toBeGreaterThanOrEqual(8000)
      break
    }
  })

  it('looks at the same pages with the same seed', async () => {
    const vm = await running(workload.stride({ pages: 4000, granted: true }))
    await vm.workload?.settled()
    const measure = (seed: number) =>
      vm.measureDirtyRate({
        window: 1,
        mode,
        samplePages: 2048,
        sampling: { seed, design: 'simple-random' },
      })
    const zero = async (seed: number): Promise<number | undefined> =>
      (await measure(seed)).sampling.zeroPages
    vm.workload?.grant(3000)
    await vm.workload?.settled()
    // The guest stands still: what differs is the choice of pages.
    const first = await zero(1)
    expect(await zero(1)).toBe(first)
    const others = new Set<number | undefined>()
    for (let seed = 2; seed < 12; seed++) others.add(await zero(seed))
    expect(others.size).toBeGreaterThan(1)
  })

  it.each([
    [{ samplePages: 127 }, 'samplePages'],
    [{ samplePages: 16_385 }, 'samplePages'],
    [{ confidence: 1 }, 'confidence'],
  ])('refuses %j', async (options, message) => {
    const vm = await running(workload.idle())
    await expect(vm.measureDirtyRate({ mode, ...options })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining(message),
    })
  })

  it.each(exactModesHere)('runs beside %s, each with its own right answer', async exact => {
    const vm = await running(workload.stride({ pages: 6000 }), { vcpus: 2, ...logFor(exact) })
    for (let round = 0; round < 5; round++) {
      const [sampled, measured] = await Promise.all([
        vm.measureDirtyRate({ window: 60, mode, samplePages: 16_384, confidence: 0.999_999 }),
        vm.measureDirtyRate({ window: 60 }),
      ])
      expectTruth(measured)
      expect(covers(sampled)).toBe(true)
    }
    expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
  })

  it('ends early with a signal, a pause and a close', async () => {
    const vm = await running(workload.stride({ pages: 500 }))
    const reason = new Error('mine')
    const controller = new AbortController()
    const aborted = vm.measureDirtyRate({ window: '1h', mode, signal: controller.signal })
    setTimeout(() => controller.abort(reason), 20)
    await expect(aborted).rejects.toBe(reason)
    const paused = expect(vm.measureDirtyRate({ window: '1h', mode })).rejects.toMatchObject({
      code: 'ERR_PAUSED',
    })
    await vm.pause()
    await paused
    await expect(vm.measureDirtyRate({ mode })).rejects.toMatchObject({ code: 'ERR_PAUSED' })
    await vm.resume()
    const closed = expect(vm.measureDirtyRate({ window: '1h', mode })).rejects.toMatchObject({
      code: 'ERR_CLOSED',
    })
    await vm.close()
    await closed
  })
})
