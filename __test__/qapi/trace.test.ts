import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { formatTrace, type LogEvent, setLog, traceNames, workload } from '../../ts/index.js'
import { traceTexts } from '../../ts/qapi/trace.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY_BYTES, running, sleep } from '../fixtures/machine.js'
import { describeMode, logFor } from '../fixtures/modes.js'

const event = (message: string, fields: Record<string, string>): LogEvent => ({
  level: 'trace',
  target: 'x',
  message,
  fields,
})

/** Everything that is told from now on to the end of the test, of QEMU's events only. */
function listen(): string[] {
  const lines: string[] = []
  setLog('trace', event => {
    const line = formatTrace(event)
    if (line !== undefined) lines.push(line)
  })
  onTestFinished(() => setLog('off', null))
  return lines
}

describe("QEMU's trace events", () => {
  it('without fields are refused, and other events are none', () => {
    expect(() => formatTrace({ message: 'dirtyrate_calculate' } as never)).toThrow(
      expect.objectContaining({
        code: 'ERR_ARGUMENT',
        message: 'event: fields: undefined is not an object',
      }),
    )
    expect(formatTrace({ message: 'toString' } as never)).toBeUndefined()
  })

  it('are lines as in its log', () => {
    expect(formatTrace(event('dirtyrate_set_state', { new_state: 'measured' }))).toBe(
      'dirtyrate_set_state new state measured',
    )
    expect(formatTrace(event('dirtyrate_do_calculate_vcpu', { idx: '1', rate: '7' }))).toBe(
      'dirtyrate_do_calculate_vcpu vcpu[1]: 7 MB/s',
    )
    expect(formatTrace(event('measurement began', {}))).toBeUndefined()
    expect(formatTrace(event('toString', {}))).toBeUndefined()
  })

  // QEMU installs the list of all its events, with their arguments and formats.
  const list = '/usr/share/qemu/trace-events-all'
  it.skipIf(!existsSync(list))('have the fields and the text that QEMU has', () => {
    const lines = readFileSync(list, 'utf8').split('\n')
    const series = ['dirtyrate_do_calculate_bitmap', 'dirtyrate_bitmap_reap']
    for (const name of traceNames.filter(name => !series.includes(name))) {
      const line = lines.find(line => line.startsWith(`${name}(`))
      const [, args = '', format = ''] = /^\w+\((.*?)\) (.*)$/.exec(line ?? '') ?? []
      const fields = args.split(',').map(arg => /(\w+)$/.exec(arg)?.[1])
      // C's pieces "… %" PRIu64 " …" as one text, with a conversion for each field in turn.
      const text = format
        .replaceAll(/"\s*PRI\w+(?:\s*")?/g, 'd')
        .replaceAll('"', '')
        .trim()
        .replaceAll(/%(?:s|d)/g, () => `{${fields.shift()}}`)
      expect(traceTexts[name]).toBe(text)
    }
  })
})

describeKvm('a job is traced', () => {
  it('as in QEMU, with the events of the dirty-bitmap series', async () => {
    const vm = await running(workload.stride({ pages: 2000 }))
    const lines = listen()
    await vm.calcDirtyRate({
      'calc-time': 100,
      'calc-time-unit': 'millisecond',
      mode: 'dirty-bitmap',
    })
    await vm.queryDirtyRate()
    let info = await vm.queryDirtyRate()
    while (info.status === 'measuring') {
      await sleep(5)
      info = await vm.queryDirtyRate()
    }
    const [{ pages } = { pages: 0 }] = vm.history
    // The same state asked for again and again is one line here.
    expect(lines.filter((line, at) => line !== lines[at - 1])).toEqual([
      'dirtyrate_set_state new state unstarted',
      'dirtyrate_set_state new state measuring',
      'query_dirty_rate_info current state measuring',
      `dirtyrate_bitmap_reap ramblock name: ram, has ${pages} dirty pages`,
      `dirtyrate_do_calculate_bitmap ${pages} pages has increased in 0 s, rate ${info['dirty-rate']}MB/s`,
      `dirtyrate_calculate dirty rate: ${info['dirty-rate']} MB/s`,
      'dirtyrate_set_state new state measured',
      'query_dirty_rate_info current state measured',
    ])
  })
})

describeMode('dirty-ring', 'a ring is traced', () => {
  it('with the rate of each vCPU', async () => {
    const vm = await running(workload.stride({ pages: 2000 }), {
      vcpus: 2,
      ...logFor('dirty-ring'),
    })
    const lines = listen()
    const { qapi } = await vm.measureDirtyRate({ window: 100 })
    const rates = qapi['vcpu-dirty-rate']?.map(
      vcpu => `dirtyrate_do_calculate_vcpu vcpu[${vcpu.id}]: ${vcpu['dirty-rate']} MB/s`,
    )
    expect(lines).toEqual([
      ...(rates ?? []),
      `dirtyrate_calculate dirty rate: ${qapi['dirty-rate']} MB/s`,
    ])
  })
})

describeKvm('sampling is traced', () => {
  it('look by look, with what was seen, and with its rate', async () => {
    const vm = await running(workload.stride({ pages: 4000 }))
    const lines = listen()
    const measurement = await vm.measureDirtyRate({
      window: 100,
      mode: 'page-sampling',
      samplePages: 8192,
    })
    const { samples = 0, hits = 0, zeroPages } = measurement.sampling ?? {}
    expect(samples).toBe((8192 * MEMORY_BYTES) / 2 ** 30)
    expect(hits).toBeGreaterThan(0)
    const looks = lines
      .map(line => /^get_ramblock_vfn_hash ramblock name: ram, vfn: (\d+), hash: (\d+)$/.exec(line))
      .filter(match => match !== null)
      .map(([, page, hash]) => ({ page, hash: Number(hash) }))
    // Both passes look at the same pages, in the same order.
    const [first, second] = [looks.slice(0, samples), looks.slice(samples)]
    expect(second.map(({ page }) => page)).toEqual(first.map(({ page }) => page))
    for (const { hash } of looks) expect(hash).toBeLessThan(2 ** 32)
    const changes = first.flatMap(({ hash }, at) =>
      hash === second[at]?.hash
        ? []
        : [
            `calc_page_dirty_rate ramblock name: ram, new hash: ${second[at]?.hash}, old hash: ${hash}`,
          ],
    )
    expect(lines.filter(line => line.startsWith('calc_page_dirty_rate'))).toEqual(changes)
    expect(changes).toHaveLength(hits)
    // The last page is one that this guest never writes.
    const page = new Uint8Array(4096)
    await vm.readMemory(MEMORY_BYTES - 4096, page)
    expect(page.every(byte => byte === 0)).toBe(true)
    expect(first.filter(({ hash }) => hash === first.at(-1)?.hash)).toHaveLength(
      zeroPages ?? Number.NaN,
    )
    expect(lines).toHaveLength(2 * samples + hits + 1)
    expect(lines.at(-1)).toBe(
      `dirtyrate_calculate dirty rate: ${measurement.qapi['dirty-rate']} MB/s`,
    )
  })

  it('with the name of a block that goes', async () => {
    const dimm = { name: 'dimm', guestAddress: '1GiB', bytes: '1MiB' }
    const vm = await running(workload.idle(), {
      memory: [{ name: 'ram', guestAddress: 0, bytes: '64MiB' }, dimm],
    })
    const lines = listen()
    const measured = vm.measureDirtyRate({ window: 1000, mode: 'page-sampling' })
    while (lines.length === 0) await sleep(1)
    await vm.removeBlock('dimm')
    await measured
    expect(lines.filter(line => line.startsWith('find_page_matched'))).toEqual([
      'find_page_matched ramblock dimm addr or size changed',
    ])
  })
})
