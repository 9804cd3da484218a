/**
 * Files that a user gives to be booted: what they cost, and what is said of those that cannot be.
 */

import { closeSync, ftruncateSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { openTarget } from 'dirtyrate'
import { expect, it } from 'vitest'
import { dirtyrate, script } from '../../fixtures/command.js'
import { elf, folder, sayAndHalt } from '../../fixtures/elf.js'
import { describeKvm } from '../../fixtures/kvm.js'
import { created } from '../../fixtures/machine.js'

const GIB = 2 ** 30
/**
 * What JavaScript's heap and a VM without touched memory may take meanwhile, more than an empty
 * process needs.
 */
const BESIDE = 96 * 2 ** 20

/** A sparse file of `bytes` bytes; only its first bytes are stored. */
function sparse(
  put: ReturnType<typeof folder>,
  name: string,
  content: Uint8Array,
  bytes: number,
): string {
  const path = put(name, content)
  const file = openSync(path, 'r+')
  ftruncateSync(file, bytes)
  closeSync(file)
  return path
}

/**
 * Does `work` in a process of its own, with `vm` of 15/4 GiB: how many bytes its resident set grew
 * by, and what was thrown.
 */
async function growth(
  work: string,
): Promise<{ bytes: number; code: string | null; message: string }> {
  const { stdout, stderr } = await script(`
    import { VirtualMachine } from 'dirtyrate'
    const vm = await VirtualMachine.create({ memory: [{ name: 'ram', guestAddress: 0, bytes: ${(15 * GIB) / 4} }] })
    const before = process.memoryUsage().rss
    let failed = null
    try { ${work} } catch (error) { failed = error }
    const bytes = process.memoryUsage().rss - before
    await vm.close()
    console.log(JSON.stringify({ bytes, code: failed?.code ?? null, message: failed?.message ?? '' }))
  `)
  expect(stderr).toBe('')
  return JSON.parse(stdout) as { bytes: number; code: string | null; message: string }
}

describeKvm('a file that is booted', () => {
  it.each([
    ['packed', Buffer.from([0x1f, 0x8b, 8, 0]), 'packed with gzip: unpack it first'],
    ['a disk image', Buffer.from('QFI\xfb', 'latin1'), 'qcow2'],
    ['an initrd', Buffer.from('070701'), 'give it as the initrd'],
    ['a program for EFI', Buffer.from(`MZ${'\0'.repeat(100)}`), 'EFI or Windows (PE)'],
    ['text', Buffer.from('hello'), 'neither an ELF file nor'],
  ])('that is %s is named, with status 2 and what to do', async (_, content, text) => {
    const kernel = folder()('file', content)
    await expect((await created()).load({ kernel })).rejects.toMatchObject({
      code: 'ERR_KERNEL_IMAGE',
      message: expect.stringContaining(text),
    })
    const ended = await dirtyrate(['calc', `kernel:${kernel}`, '--json'])
    expect(ended.status).toBe(2)
    const { message, hint } = JSON.parse(ended.stdout).error
    expect(message).toContain(text)
    // What a kernel is stands in the hint, and only there.
    expect(hint).toContain('an ELF with a PVH entry')
    expect(message).not.toContain('PVH')
  })

  it('that is no regular file is refused without a look into it', async () => {
    const put = folder()
    const directory = join(put('file', 'x'), '..', 'directory')
    mkdirSync(directory)
    const vm = await created()
    for (const [path, text] of [
      [directory, 'is a directory'],
      ['/dev/zero', 'is a device'],
      ['/proc/self/status', 'of /proc or /sys'],
    ] as const) {
      const expected = { code: 'ERR_KERNEL_IMAGE', message: expect.stringContaining(text) }
      await expect(vm.load({ kernel: path })).rejects.toMatchObject(expected)
      const kernel = put('good.elf', elf(sayAndHalt('ok')))
      await expect(vm.load({ kernel, initrd: path })).rejects.toMatchObject(expected)
    }
    await expect(vm.load({ kernel: 'x'.repeat(2 ** 20) })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
    })
    await expect(vm.load({ kernel: 'x', cmdline: 'x'.repeat(2 ** 22) })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining('a command line of 4194304 bytes'),
    })
  })

  it.skipIf(process.arch === 'arm64')(
    'takes the memory of its own bytes, whatever its header says',
    async () => {
      const kernel = folder()('bss.elf', elf(sayAndHalt('ok'), { memoryBytes: 3 * GIB }))
      const { bytes, code, message } = await growth(`await vm.load({ kernel: '${kernel}' })`)
      expect([code, message]).toEqual([null, ''])
      expect(bytes).toBeLessThan(BESIDE)
    },
  )

  it.skipIf(process.arch === 'arm64')('takes none for what it does not store', async () => {
    const put = folder()
    const good = put('good.elf', elf(sayAndHalt('ok')))
    const nothing = sparse(put, 'nothing', Buffer.from('x'), 4 * GIB)
    const refused = await growth(`await vm.load({ kernel: '${nothing}' })`)
    expect(refused).toMatchObject({
      code: 'ERR_KERNEL_IMAGE',
      message: expect.stringContaining('neither an ELF'),
    })
    expect(refused.bytes).toBeLessThan(BESIDE)
    const initrd = sparse(put, 'initrd', Buffer.alloc(5000, 7), 2 * GIB)
    const loaded = await growth(`await vm.load({ kernel: '${good}', initrd: '${initrd}' })`)
    expect(loaded.code).toBeNull()
    expect(loaded.bytes).toBeLessThan(BESIDE)
  })

  it('that is being loaded is let go by a signal, with its reason, and by close()', async () => {
    const put = folder()
    const kernel = put('good.elf', elf(sayAndHalt('ok')))
    const initrd = put('initrd', Buffer.alloc(200 * 2 ** 20, 7))
    const reason = new Error('enough')
    const [first, second] = await Promise.all([
      created({ memory: '1GiB' }),
      created({ memory: '1GiB' }),
    ])
    const controller = new AbortController()
    const loading = first.load({ kernel, initrd }, { signal: controller.signal })
    controller.abort(reason)
    await expect(loading).rejects.toBe(reason)
    await expect(first.load({ kernel }, { signal: controller.signal })).rejects.toBe(reason)
    await expect(first.start()).rejects.toMatchObject({ code: 'ERR_STATE' })
    await first.load({ kernel })
    const closed = expect(second.load({ kernel, initrd })).rejects.toMatchObject({
      code: 'ERR_CLOSED',
    })
    await second.close()
    await closed
    const uri = `kernel:${kernel},memory=1GiB,initrd=${initrd}`
    await expect(openTarget(uri, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  it('is not loaded any further once a signal came while it was copied', async () => {
    const put = folder()
    const kernel = put('good.elf', elf(sayAndHalt('ok')))
    const initrd = put('initrd', Buffer.alloc(200 * 2 ** 20, 7))
    const reason = new Error('enough')
    // A machine that is busy may let the copy end before the signal comes: then the next one is
    // tried.
    for (let left = 10; ; left--) {
      const vm = await created({ memory: '1GiB' })
      const controller = new AbortController()
      const before = process.memoryUsage().rss
      let ended = false
      const loading = vm
        .load({ kernel, initrd }, { signal: controller.signal })
        .catch(error => expect(error).toBe(reason))
        .finally(() => {
          ended = true
        })
      // What was copied is memory of this process; a call of the VM would wait for the load.
      while (!ended && process.memoryUsage().rss < before + 8 * 2 ** 20) await setImmediate()
      controller.abort(reason)
      await loading
      const interrupted = await vm.start().then(
        () => false,
        error => error.code === 'ERR_STATE',
      )
      await vm.close()
      if (interrupted) return
      expect(left).toBeGreaterThan(0)
    }
  })
})
