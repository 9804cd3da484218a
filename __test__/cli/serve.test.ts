/** `dirtyrate serve` as a program: what it exports, who gets an answer, and how it ends. */

import { get, type IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { dirtyrate } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { type Exported, samplesOf, valueIn } from '../fixtures/exposition.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'
import { PlayedQemu } from '../fixtures/played-qemu.js'
import { expectForm } from '../fixtures/schema.js'
import { serving } from '../fixtures/serve-command.js'

const guest = `guest:stride,pages=4000,rate=20MiB/s,memory=${MEMORY}`
const TOKEN = '00112233445566778899aabbccddeeff'

interface Response {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

/** fetch() would not let a request name another host. */
function ask(url: string, headers: Record<string, string> = {}): Promise<Response> {
  return new Promise((resolve, reject) => {
    get(url, { headers, agent: false }, async response => {
      const body = await text(response)
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body })
    }).on('error', reject)
  })
}

const scrape = async (url: string): Promise<Exported[]> => samplesOf((await ask(url)).body)

/** Scrapes until `enough` says so. */
async function scraped(
  url: string,
  enough: (samples: readonly Exported[]) => boolean,
): Promise<Exported[]> {
  await expect.poll(async () => enough(await scrape(url)), { timeout: 30_000 }).toBe(true)
  return scrape(url)
}

const measured = (samples: readonly Exported[], target: string): number =>
  valueIn(samples, 'dirtyrate_measurements_total', { target, result: 'complete' }) ?? 0

const FAST = ['--every', '200ms', '--window', '100ms', '--curve-every', 'never']

describeKvm('dirtyrate serve', () => {
  it('counts what the guest writes, by the own count of the guest', async () => {
    await serving([guest, ...FAST], async url => {
      const first = await scraped(url, samples => measured(samples, guest) >= 1)
      const later = await scraped(
        url,
        samples => measured(samples, guest) >= measured(first, guest) + 5,
      )
      const grown = (name: string, labels = {}): number =>
        (valueIn(later, name, labels) ?? Number.NaN) - (valueIn(first, name, labels) ?? Number.NaN)
      const dirty = grown('dirtyrate_dirty_bytes_total')
      const low = grown('dirtyrate_truth_bytes_total', { bound: 'low' })
      expect(low).toBeGreaterThan(0)
      expect(dirty).toBeGreaterThanOrEqual(low)
      expect(dirty).toBeLessThanOrEqual(grown('dirtyrate_truth_bytes_total', { bound: 'high' }))
    })
  })

  it('predicts from its curve, and says in which formats', async () => {
    const windows = ['--windows', '100ms,500ms', '--every', '200ms', '--window', '20ms']
    const links = ['--bandwidth', '10Gbit/s,1Mbit/s', '--downtime', '300ms']
    await serving([guest, ...windows, ...links], async url => {
      const samples = await scraped(
        url,
        all =>
          valueIn(all, 'dirtyrate_prediction_total_seconds', { bandwidth: '1Mbit/s' }) !==
          undefined,
      )
      const verdict = (bandwidth: string, word: string): number | undefined =>
        valueIn(samples, 'dirtyrate_prediction_verdict', { bandwidth, verdict: word })
      expect([verdict('10Gbit/s', 'converges'), verdict('1Mbit/s', 'stalls')]).toEqual([1, 1])
      const ofWindow = samples.filter(({ name }) => name === 'dirtyrate_curve_window_seconds')
      // A busy host may miss the shorter window. The longer one is always measured.
      expect(ofWindow.at(-1)?.labels.window).toBe('0.5')
      expect(['0.1', '0.5']).toEqual(
        expect.arrayContaining(ofWindow.map(({ labels }) => labels.window)),
      )
      const accept = 'application/openmetrics-text;version=1.0.0'
      expect((await ask(url, { accept })).headers['content-type']).toBe(
        'application/openmetrics-text; version=1.0.0; charset=utf-8',
      )
      expect((await ask(url)).headers['content-type']).toBe(
        'text/plain; version=0.0.4; charset=utf-8',
      )
    })
  })

  it('measures the others while one target fails, and that one when it is there', async () => {
    const qemu = await PlayedQemu.start()
    qemu.die()
    const missing = `qmp:${qemu.path}`
    const { stderr } = await serving([missing, guest, ...FAST], async url => {
      const samples = await scraped(
        url,
        all =>
          measured(all, guest) >= 3 &&
          valueIn(all, 'dirtyrate_target_up', { target: missing }) === 0,
      )
      expect(valueIn(samples, 'dirtyrate_target_up', { target: guest })).toBe(1)
      expect(
        valueIn(samples, 'dirtyrate_errors_total', { target: missing, code: 'ERR_TARGET_ABSENT' }),
      ).toBeGreaterThan(0)
      await qemu.listen()
      await scraped(url, all => valueIn(all, 'dirtyrate_target_up', { target: missing }) === 1)
    })
    expect(stderr).toContain(`${missing}: it is measured again.`)
    // Each row of failures is told once, with what to do about it.
    expect(stderr.match(/is tried again/g)).toHaveLength(1)
    expect(stderr).toContain(
      '\nCheck the name: nothing that can be measured is there.\nThe target is tried again',
    )
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('ends with %s, also in a window, and leaves nothing', async (signal, code) => {
    const long = ['--every', '60s', '--window', '60s', '--log-level', 'debug']
    const { status, stdout, stderr } = await serving(
      [guest, ...long],
      async url => {
        await scraped(url, all => valueIn(all, 'dirtyrate_memory_bytes') !== undefined)
      },
      { signal },
    )
    expect({ status, stdout }).toEqual({ status: code, stdout: '' })
    expect(stderr).toMatch(
      /dirtyrate: interrupted\nThe server has ended, and its targets are closed\.\n$/,
    )
    expect(stderr).toMatch(/measurement began (.|\n)*measurement ended early /)
  })

  it('ends while a client does not read', async () => {
    const { status } = await serving([guest, ...FAST], async url => {
      const { port } = new URL(url)
      const socket = connect(Number(port), '127.0.0.1')
      socket.on('error', () => {})
      socket.pause()
      socket.write('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n')
      await scraped(url, all => measured(all, guest) >= 2)
    })
    expect(status).toBe(143)
  })

  it('answers those that have the token, at an address that others reach', async () => {
    const file = folder()('token', `${TOKEN}\n`)
    const args = [guest, ...FAST, '--listen', '0.0.0.0:0', '--token-file', file]
    const { stderr } = await serving([...args, '--allow-host', 'vm.example'], async bound => {
      const url = bound.replace('0.0.0.0', '127.0.0.1')
      const authorization = `Bearer ${TOKEN}`
      expect((await ask(url)).status).toBe(401)
      expect((await ask(url, { authorization: `Bearer ${TOKEN}x` })).status).toBe(401)
      expect((await ask(url, { authorization })).status).toBe(200)
      expect((await ask(url, { authorization, host: 'evil.example' })).status).toBe(421)
      expect((await ask(url, { authorization, host: 'vm.example' })).status).toBe(200)
      expect((await ask(url, { authorization, origin: 'http://evil.example' })).status).toBe(403)
    })
    expect(stderr).not.toContain(TOKEN)
    expect(stderr).toMatch(/^Page: {4}http:\/\/0\.0\.0\.0:\d+\/$/m)
    expect(stderr).toContain('0.0.0.0 stands for all addresses of this host.')
    expect(stderr).toContain('The page asks for the token.')
  })

  it('takes the token from the environment, and then asks for it at any address', async () => {
    const use = async (url: string): Promise<void> => {
      expect((await ask(url)).status).toBe(401)
      expect((await ask(url, { authorization: `Bearer ${TOKEN}` })).status).toBe(200)
    }
    await serving([guest, ...FAST], use, { env: { DIRTYRATE_TOKEN: TOKEN } })
  })

  it('has a page that says what is there, and nothing of any VM', async () => {
    let printed = ''
    const { stderr } = await serving([guest, ...FAST], async url => {
      printed = new URL('/', url).href
      const page = await ask(printed)
      expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
      expect(page.body).toContain('<a href="metrics">')
      expect(page.body).not.toContain('guest:')
    })
    expect(stderr).toMatch(/^Serving 1 target, until interrupted\.$/m)
    expect(stderr.split('\n')).toContain(`Page:    ${printed}`)
    expect(stderr).not.toContain('token')
  })

  it('prints a document with --json', async () => {
    let served = ''
    const { stdout } = await serving([guest, guest, ...FAST, '--json'], async url => {
      served = url
    })
    expectForm(stdout.split('\n')[0] ?? '', 'metricsServer')
    expect(JSON.parse(stdout.split('\n')[0] ?? '')).toMatchObject({
      page: new URL('/', served).href,
      url: served,
      targets: [guest],
    })
  })

  it('ends with a mistake in a target, and measures nothing', async () => {
    const { status, stderr } = await dirtyrate([
      ...['serve', guest, 'guest:strde', '--listen', '127.0.0.1:0', '--every', '1h'],
    ])
    expect(status).toBe(2)
    expect(stderr).toContain("Did you mean 'stride'?")
  })
})

describe('dirtyrate serve, before it opens its targets,', () => {
  it.each([
    [[], "missing required argument 'target'"],
    [['--listen', 'example.org:80'], "--listen: 'example.org:80' is not an address with a port"],
    [['--listen', '0.0.0.0:0'], '--listen: other hosts reach 0.0.0.0, so that the server needs a'],
    [['--token-file', '/nonexistent/token'], '--token-file: ENOENT'],
    [['--window', '2s', '--every', '1s'], '--window: 2s is longer than --every 1s'],
    [['--every', '10'], '--every: '],
    [['--curve-every', '10ms'], "--curve-every: '10ms' is out of range"],
    [['--curve-every', 'never', '--windows', '1s'], '--windows: it is for curves'],
    [
      ['--curve-every', 'never', '--bandwidth', '1Gbit/s', '--downtime', '1s'],
      '--bandwidth: a prediction needs a curve',
    ],
    [['--bandwidth', '1Gbit/s'], '--bandwidth: used only with --downtime'],
    [
      ['--windows', Array.from({ length: 33 }, (_, at) => `${at + 1}ms`).join()],
      '--windows: 33 windows are too many for metrics',
    ],
  ])('refuses %j', async (args, message) => {
    const targets = args.length === 0 ? [] : [guest]
    const { status, stderr } = await dirtyrate(['serve', ...targets, ...args], {
      // A server that should not be there would never end.
      onStderr: (output, kill) => {
        if (output.includes('Serving')) kill('SIGKILL')
      },
    })
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining(message) })
  })

  it('refuses a token that could be guessed, and does not print it', async () => {
    const secret = folder()('token', 'hunter2')
    const { status, stderr } = await dirtyrate(['serve', guest, '--token-file', secret])
    expect(status).toBe(2)
    expect(stderr).toContain('the token has 7 characters, and must have 16 to 4096')
    expect(stderr).not.toContain('hunter2')
  })

  it('refuses an address at which somebody else listens', async () => {
    await serving([guest, ...FAST], async url => {
      const { host } = new URL(url)
      const { status, stderr } = await dirtyrate(['serve', guest, '--listen', host])
      expect(status).toBe(2)
      expect(stderr).toContain(`dirtyrate: ${host}: another program listens there\n`)
    })
  })
})
