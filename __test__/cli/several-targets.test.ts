/** `calc` and `watch` measure several targets, and some of the targets fail. */

import { expect, it } from 'vitest'
import { measuredOf, together } from '../../ts/cli/calc.js'
import { InOrder } from '../../ts/cli/several-targets.js'
import { type Target, workload } from '../../ts/index.js'
import { memoryForKernel } from '../../ts/targets/vm/memory.js'
import { cli, dirtyrate, type Ended, run } from '../fixtures/command.js'
import { crashAtOnce, elf, folder } from '../fixtures/elf.js'
import { describeInstalled } from '../fixtures/installed-programs.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY, PAGE, running } from '../fixtures/machine.js'
import { expectForm } from '../fixtures/schema.js'

/** What list says of a VM that can be reached in three ways. */
const web = {
  pid: 7,
  targets: ['libvirt:web', 'qmp:/run/web', 'pid:7'].map(target => ({
    ...{ target, reachable: true, why: '' },
  })),
}

it.each([
  [['pid:7', 'qmp:/run/web'], 5, true],
  [['libvirt:web', 'libvirt:web,outside=yes', 'pid:8'], 5 + 7, true],
  [['libvirt:web,connect=qemu+ssh://x/system', 'pid:7'], 5 + 6, false],
  [['qmp:/run/other', 'qmp:/run/other,force=on'], 5, true],
  [['guest:idle', 'guest:idle'], 5 + 6, false],
])('the sum of %j has each VM once', (uris, sum, isRepeated) => {
  const measured = uris.map((uri, at) => ({ target: { uri } as Target, bytesPerSecond: 5 + at }))
  const all = together(measured, [web])
  expect(all.sum).toBe(sum)
  expect(all.once !== '').toBe(isRepeated)
})

const PAGES = 500
/** A guest that writes its whole working set again and again. */
const busy = `guest:stride,pages=${PAGES},memory=${MEMORY}`
const idle = `guest:idle,memory=${MEMORY}`
const absent = 'qmp:/no/such/socket'

const lines = (text: string): string[] => text.trimEnd().split('\n')

describeKvm('several targets', () => {
  it('have a line each, in the same window, and a sum', async () => {
    const { status, stdout } = await dirtyrate(['calc', busy, idle, '--window', '200ms'])
    expect(status).toBe(0)
    expect(stdout).toMatch(new RegExp(`^${busy} .* dirty-bitmap +exact +${PAGES + 1} `, 'm'))
    expect(stdout).toMatch(new RegExp(`^${idle} .* dirty-bitmap +exact +0 `, 'm'))
    expect(stdout).toMatch(/2 of 2 targets were measured\. Together they dirty [\d.]+ MiB\/s\./)
  })

  it('have no sum if only one of them was measured', async () => {
    const { stdout } = await dirtyrate(['calc', busy, absent, '--window', '100ms'])
    expect(stdout).toContain('1 of 2 targets was measured.')
    expect(stdout).not.toContain('Together')
  })

  it('that name the same VM are counted once in the sum, which says so', async () => {
    await running(workload.stride({ pages: PAGES }))
    const uris = [`pid:${process.pid}`, `pid:${process.pid},min-size=1MiB`]
    const { status, stdout } = await dirtyrate(['calc', ...uris, '--window', '100ms'])
    expect(status).toBe(0)
    expect(stdout).toMatch(
      /dirty [\d.]+ [KMG]?i?B\/s; a VM that several targets name is counted once\./,
    )
  })

  it('have a document each, also those that fail', async () => {
    const args = ['calc', busy, absent, idle, '--window', '200ms', '--json']
    const { status, stdout } = await dirtyrate(args)
    // One of them failed, and the others were measured.
    expect(status).toBe(1)
    const documents = lines(stdout).map(text => JSON.parse(text))
    expect(documents).toHaveLength(3)
    const [failure] = documents.filter(({ error }) => error !== undefined)
    expect(failure).toMatchObject({ target: absent, error: { code: 'ERR_TARGET_ABSENT' } })
    expectForm(JSON.stringify(failure), 'failure')
    const measured = documents.filter(({ error }) => error === undefined)
    for (const one of measured) expectForm(JSON.stringify(one), 'measurement')
    expect(measured.map(({ pages }) => pages).sort((a, b) => a - b)).toEqual([0, PAGES + 1])
    // The windows are beside each other, and not one after the other.
    const [first, second] = measured.map(({ startedAt }) => Date.parse(startedAt))
    const window = Math.min(...measured.map(({ window: { ns } }) => ns / 1e6))
    expect(Math.abs((first ?? 0) - (second ?? Number.NaN))).toBeLessThan(window)
  })

  it('have their lines in the order in which they are named', async () => {
    const named = Array.from({ length: 12 }, (_, at) => `guest:idle,memory=${at + 8}MiB`)
    const { status, stdout, stderr } = await dirtyrate(['calc', busy, ...named, '--window', '50ms'])
    // Node would warn here of a leak, because each target listens to the signal of the command.
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const rows = lines(stdout).filter(line => line.startsWith('guest:'))
    expect(rows.map(line => line.split(' ')[0])).toEqual([busy, ...named])
    expect(stdout).toContain('13 of 13 targets were measured.')
  })

  it('behind one that fails have their lines too', async () => {
    const other = 'qmp:/no/other/socket'
    const targets = [absent, idle, other, busy]
    const { status, stdout } = await dirtyrate(['calc', ...targets, '--window', '50ms'])
    expect(status).toBe(1)
    const named = lines(stdout).filter(line => /^(guest|qmp):/.test(line))
    expect(named.map(line => line.split(' ')[0])).toEqual(targets)
    expect(stdout).toContain('2 of 4 targets were measured.')
  })

  it('that all fail for the same reason end as one of them alone does', async () => {
    const args = ['calc', 'pid:4194301', 'pid:4194302', '--window', '50ms']
    const { status, stdout } = await dirtyrate(args)
    expect(stdout).toContain('0 of 2 targets were measured.')
    expect(status).toBe(3)
  })

  it('have their lines although one before them fails while it is measured', async () => {
    const ram = memoryForKernel(MEMORY)[0]?.guestAddress ?? 0
    const image = folder()('crash.elf', elf(crashAtOnce, { ram }))
    const crashing = `kernel:${image},memory=${MEMORY}`
    const args = ['calc', crashing, idle, '--delay', '100ms', '--window', '50ms']
    const { status, stdout } = await dirtyrate(args)
    expect(status).toBe(1)
    expect(stdout).toMatch(new RegExp(`^${crashing} +failed: --delay: the guest crashed`, 'm'))
    expect(stdout).toMatch(new RegExp(`^${idle} .* dirty-bitmap +exact +0 `, 'm'))
    expect(stdout).toContain('1 of 2 targets was measured.')
  })

  it('are named in each line of a watch, and summed up at its end', async () => {
    const args = ['watch', busy, idle, '--every', '100ms', '--count', '3']
    const { status, stdout } = await dirtyrate(args)
    expect(status).toBe(0)
    const of = (target: string): string[] =>
      lines(stdout).filter(line => line.startsWith(`${target} `))
    expect([of(busy).length, of(idle).length]).toEqual([3, 3])
    const bytes = ((PAGES + 1) * PAGE) / 2 ** 20
    const [, mean, most] =
      new RegExp(
        `^${busy}: 3 windows, ([\\d.]+) MiB/s on average, ([\\d.]+) MiB/s at most\\.`,
        'm',
      ).exec(stdout) ?? []
    // Each window has the whole working set, and is about a tenth of a second long.
    expect(Number(mean)).toBeGreaterThan(0)
    expect(Number(mean)).toBeLessThanOrEqual(Number(most))
    expect(Number(most)).toBeLessThan(bytes / 0.05)
    expect(stdout).toMatch(new RegExp(`^${idle}: 3 windows, 0\\.0 MiB/s on average`, 'm'))
  })

  it('have a document for each window of each of them', async () => {
    const args = ['watch', busy, absent, '--every', '50ms', '--count', '2', '--json']
    const { status, stdout } = await dirtyrate(args)
    expect(status).toBe(1)
    const documents = lines(stdout)
    expect(documents.map(text => 'error' in JSON.parse(text)).sort()).toEqual([false, false, true])
  })
})

describeInstalled('qemu-system-x86_64', 'a VM of --all', () => {
  it.skipIf(process.getuid?.() !== 0)('has the name of the VM behind pid:N', async () => {
    // In a namespace of its own the command finds no VM of anybody else.
    const options = '-accel tcg -machine pc -m 128 -display none -nodefaults'
    const qemu = `qemu-system-x86_64 -name guest=web ${options}`
    const all = `"$@" calc --all --window 50ms`
    // The translator's buffer is there when the machine is made.
    const isReady = 'grep -q rwxp /proc/$!/maps && grep -q State:.S /proc/$!/status'
    const ready = `for _ in $(seq 100); do ${isReady} && break; sleep 0.1; done`
    const program = `${qemu} & ${ready}; ${all}; status=$?; kill $!; exit $status`
    const namespace = ['--pid', '--fork', '--mount-proc', '--kill-child']
    const words = [...namespace, 'sh', '-c', program, 'sh', process.execPath, cli]
    const { status, stdout } = await run('unshare', words)
    expect(stdout).toMatch(/^pid:2 \(web\) +[\d.]+ MiB\/s +page-sampling /m)
    expect(stdout).toContain('1 of 1 target was measured.')
    expect(status).toBe(0)
  })
})

describeKvm('a process of a VMM that has no guest memory', () => {
  const asRoot = it.skipIf(process.getuid?.() !== 0)

  /**
   * Runs the command beside a program that gets the name of a VMM. In a namespace of its own the
   * command finds no VM of anybody else.
   */
  const beside = (helper: { named: string; is: string }, ...args: string[]): Promise<Ended> => {
    const program = folder()(helper.named, '')
    const [word, ...rest] = helper.is.split(' ')
    const copied = `cp "$(command -v ${word})" ${program}; chmod +x ${program}`
    const isReady = `[ "$(readlink /proc/$!/exe)" = ${program} ] && grep -q State:.S /proc/$!/status`
    const ready = `until ${isReady}; do sleep 0.05; done`
    const started = `sleep 60 | ${program} ${rest.join(' ')} >/dev/null &`
    const script = `${copied}; ${started} ${ready}; "$@"; status=$?; kill $!; exit $status`
    const namespace = ['--pid', '--fork', '--mount-proc', '--kill-child']
    return run('unshare', [...namespace, 'sh', '-c', script, 'sh', process.execPath, cli, ...args])
  }
  const crosvm = { named: 'crosvm', is: 'cat' }

  asRoot('is listed, and is no virtual machine that can be measured', async () => {
    const listed = await beside(crosvm, 'list')
    expect(listed.stdout).toMatch(
      /^\(no name\) {2}crosvm, process (\d+) of root\n {2}pid:\1 +no: no guest memory is found in this\s+process\. If there is some, say where: pid:\1,range=START-END/m,
    )
    const json = await beside(crosvm, 'list', '--json')
    expectForm(json.stdout, 'vmList')
    expect(JSON.parse(json.stdout).vms).toMatchObject([{ vmm: 'crosvm', noMemory: true }])
    const { targets } = JSON.parse((await beside(crosvm, 'doctor', '--json')).stdout)
    expect(targets).toContainEqual(expect.objectContaining({ scheme: 'pid', possible: false }))
  })

  asRoot.each([
    [crosvm, /^pid:\d+ was left out: no guest memory is found in it\.$/m],
    // Its buffer is as large as a guest's memory, and only its flags tell that it is none.
    [
      { named: 'cloud-hypervisor', is: 'dd bs=200M' },
      /^pid:\d+ was left out: [^.]*, and no guest memory was\s+found in it\./m,
    ],
  ])('is left out of --all, with a note: %j', async (helper, note) => {
    const all = await beside(helper, 'calc', idle, '--all', '--window', '50ms')
    expect(all.stdout).toContain('1 of 1 target was measured.')
    expect(all.stderr).toMatch(note)
    expect(all.status).toBe(0)
    const nothing = await beside(helper, 'calc', '--all')
    expect(nothing).toMatchObject({ status: 3, stdout: '' })
    expect(nothing.stderr).toContain('--all: there is no virtual machine here to measure\n')
  })
})

it.each([
  [['calc'], /missing required argument 'target'\n.*--all/],
  [['watch', '--json'], /missing required argument 'target'/],
  [['calc', 'guest:idle', 'memory=4GiB'], /'memory=4GiB' is an option of a target.*\n.*one word/],
  [['calc', 'guest:idle', 'guest:strid'], /the workload 'strid' is not known/],
  [['watch', 'guest:idle', 'guest:stride', '--csv'], /--csv: its output has no place/],
  [['calc', 'guest:idle', 'guest:stride', '--hmp'], /--hmp: its output has no place/],
])('%j is a mistake, and nothing is measured', async (args, why) => {
  const { status, stdout, stderr } = await dirtyrate(args)
  expect(status).toBe(2)
  expect(args.includes('--json') ? JSON.parse(stdout).error.message : stderr).toMatch(why)
  if (!args.includes('--json')) expect(stdout).toBe('')
})

it.each([
  [0, 1, '0 of 1 target was measured.'],
  [1, 1, '1 of 1 target was measured.'],
  [1, 2, '1 of 2 targets was measured.'],
  [2, 2, '2 of 2 targets were measured.'],
])('%i of %i are counted in English', (measured, all, text) => {
  expect(measuredOf(measured, all)).toBe(text)
})

it('actions are called in the order of their places, whenever they are settled', () => {
  const inOrder = new InOrder()
  const called: number[] = []
  const after: number[][] = []
  for (const place of [2, 0, 3, 1]) {
    inOrder.settle(place, () => called.push(place))
    after.push([...called])
  }
  expect(after).toEqual([[], [0], [0], [0, 1, 2, 3]])
})
