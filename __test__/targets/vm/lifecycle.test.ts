import { expect, it } from 'vitest'
import { type StateChange, type VirtualMachineState, workload } from '../../../ts/index.js'
import { Lifecycle } from '../../../ts/targets/vm/lifecycle.js'
import { memoryForKernel } from '../../../ts/targets/vm/memory.js'
import { crashAtOnce, crashOnFlag, elf, FLAG_ADDRESS, folder } from '../../fixtures/elf.js'
import { describeKvm } from '../../fixtures/kvm.js'
import { created, running } from '../../fixtures/machine.js'

/** The life of a guest that does not end by itself. */
const lifecycle = (state: () => VirtualMachineState): Lifecycle => new Lifecycle(state, () => {})

describeKvm('the life of a VM', () => {
  it('is told change by change', async () => {
    const vm = await created()
    await vm.load(workload.idle())
    const changes: StateChange[] = []
    vm.onStateChange(change => changes.push(change))
    await vm.start()
    await vm.pause()
    await vm.resume()
    await vm.shutdown()
    await vm.close()
    expect(changes).toEqual([
      { from: 'created', to: 'running' },
      { from: 'running', to: 'paused' },
      { from: 'paused', to: 'running' },
      { from: 'running', to: 'shutdown' },
      { from: 'shutdown', to: 'closed' },
    ])
    expect(() => vm.onStateChange(() => {})).toThrow(
      expect.objectContaining({ code: 'ERR_CLOSED' }),
    )
  })

  it('ends by the guest itself, which is noticed without a call', async () => {
    const memory = memoryForKernel('64MiB')
    const vm = await created({ memory })
    const changes: VirtualMachineState[] = []
    vm.onStateChange(({ to }) => changes.push(to))
    const { ended } = vm
    await vm.load({
      kernel: folder()('kernel', elf(crashAtOnce, { ram: memory[0]?.guestAddress ?? 0 })),
    })
    await vm.start()
    expect(await ended).toBe('crashed')
    expect(vm.crash).not.toBeNull()
    await expect.poll(() => changes.at(-1)).toBe('crashed')
    expect(await vm.ended).toBe('crashed')
    await vm.close()
  })

  it('ends by the guest itself, also if nobody has noticed before it is closed', async () => {
    const memory = memoryForKernel('64MiB')
    const ram = memory[0]?.guestAddress ?? 0
    const vm = await running({ kernel: folder()('kernel', elf(crashOnFlag, { ram })) }, { memory })
    await vm.writeMemory(ram + FLAG_ADDRESS, Uint8Array.of(1))
    while (vm.state === 'running') await new Promise(resolve => setImmediate(resolve))
    await vm.close()
    expect(await vm.ended).toBe('crashed')
    expect(vm.crash).not.toBeNull()
  })

  it('can be closed by a listener that hears of the crash from close()', async () => {
    const memory = memoryForKernel('64MiB')
    const ram = memory[0]?.guestAddress ?? 0
    const vm = await running({ kernel: folder()('kernel', elf(crashOnFlag, { ram })) }, { memory })
    const closings: Promise<void>[] = []
    vm.onStateChange(() => closings.push(vm.close()))
    const writing = vm.writeMemory(ram + FLAG_ADDRESS, Uint8Array.of(1))
    // These turns only begin the write. The event loop does not turn, so that nothing tells of the
    // crash before close() does.
    for (let turn = 0; turn < 100; turn++) await undefined
    const deadline = Date.now() + 10_000
    while (vm.state === 'running' && Date.now() < deadline);
    const closing = vm.close()
    await Promise.all([closing, writing])
    expect(closings).toHaveLength(2)
    for (const one of closings) expect(one).toBe(closing)
    expect(await vm.ended).toBe('crashed')
  })

  it('can be ended by a listener that hears of its change', async () => {
    const vm = await running(workload.idle())
    const changes: VirtualMachineState[] = []
    const closings: Promise<void>[] = []
    vm.onStateChange(({ to }) => {
      changes.push(to)
      closings.push(vm.close())
    })
    await vm.pause()
    await vm.close()
    expect(changes).toEqual(['paused', 'closed'])
    expect(closings[0]).toBe(vm.close())
    expect(closings[1]).toBe(closings[0])
  })

  it.each(['shutdown', 'close'] as const)('ends by %s, and every time the same way', async how => {
    const vm = await running(workload.idle())
    const { ended } = vm
    await vm[how]()
    const state = how === 'close' ? 'closed' : 'shutdown'
    expect(await ended).toBe(state)
    await vm.close()
    expect(await vm.ended).toBe(state)
  })
})

it.each(['shutdown', 'crashed'] as const)('after %s, closing is no other end', async how => {
  let state: VirtualMachineState = 'running'
  const [asked, late] = [lifecycle(() => state), lifecycle(() => state)]
  const { ended } = asked
  for (const next of [how, 'closed'] as const) {
    state = next
    asked.look()
    late.look()
  }
  expect([await ended, await asked.ended, await late.ended]).toEqual([how, how, how])
})

it('a listener that is removed, or that throws, disturbs no other one', async () => {
  let state: VirtualMachineState = 'created'
  const life = lifecycle(() => state)
  const seen: string[] = []
  const remove = life.onChange(() => seen.push('removed'))
  life.onChange(({ to }) => seen.push(to))
  remove()
  state = 'running'
  life.look()
  life.look()
  expect(seen).toEqual(['running'])
  state = 'closed'
  await expect(life.ended).resolves.toBe('closed')
  expect(seen).toEqual(['running', 'closed'])
})
