/** The live view of `dirtyrate serve` as a program: real VMs, the token, and encryption. */

import { readFileSync } from 'node:fs'
import { get } from 'node:https'
import { text } from 'node:stream/consumers'
import { expect, it } from 'vitest'
import { columnsOf } from '../../ts/dashboard/packed-cells.js'
import { makeCertificate } from '../fixtures/certificate.js'
import { folder } from '../fixtures/elf.js'
import { describeKvm } from '../fixtures/kvm.js'
import { LiveClient } from '../fixtures/live-client.js'
import { MEMORY } from '../fixtures/machine.js'
import { serving } from '../fixtures/serve-command.js'

const guest = `guest:stride,pages=4000,rate=20MiB/s,memory=${MEMORY}`
const TOKEN = '00112233445566778899aabbccddeeff'
const FAST = ['--every', '200ms', '--window', '100ms']
const NO_CURVES = ['--curve-every', 'never']

describeKvm('the live view of dirtyrate serve', () => {
  it('hears of the VM, its windows, and the curve that it asks for', async () => {
    const curves = ['--curve-every', '1h', '--windows', '20ms,50ms']
    await serving([guest, ...FAST, ...curves], async url => {
      const client = await LiveClient.open(url)
      const of = (kind: string) => client.events.filter(({ event }) => event.kind === kind)
      await expect.poll(() => of('measured').length, { timeout: 20_000 }).toBeGreaterThan(3)
      const [described] = of('target')
      expect(described?.event).toMatchObject({ target: guest, state: 'running', vcpus: 1 })
      for (const { event } of of('measured')) {
        if (event.kind !== 'measured') continue
        expect(event).toMatchObject({ target: guest, mode: 'dirty-bitmap', requestedMs: 100 })
        // The rate is what the pages say, and the guest cannot write faster than it may.
        const { pages = 0, pageSize = 0, windowNs, bytesPerSecond } = event
        expect(bytesPerSecond).toBeCloseTo((pages * pageSize * 1e9) / windowNs, 3)
        // Each dirty page is in one cell.
        const cells = event.cells === undefined ? [] : columnsOf(event.cells)
        expect(cells.flatMap(block => [...block.pages]).reduce((sum, n) => sum + n, 0)).toBe(pages)
      }
      await expect.poll(() => of('curve').length, { timeout: 20_000 }).toBe(1)
      // Within four times the time that the curve took, none can be asked for.
      const asked = async (): Promise<boolean | undefined> => {
        client.socket.send(JSON.stringify({ kind: 'measureCurve', target: guest }))
        const before = client.controls('curve-answer').length
        await expect.poll(() => client.controls('curve-answer').length).toBe(before + 1)
        return client.controls('curve-answer').at(-1)?.accepted
      }
      await expect.poll(asked, { timeout: 20_000, interval: 1000 }).toBe(true)
      await expect.poll(() => of('curve').length, { timeout: 20_000 }).toBe(2)
    })
  })

  it('says that it measures no curves, if it does not', async () => {
    await serving([guest, ...FAST, ...NO_CURVES], async url => {
      const client = await LiveClient.open(url)
      for (const target of [guest, 'guest:idle'])
        client.socket.send(JSON.stringify({ kind: 'measureCurve', target }))
      await expect
        .poll(() => client.controls('curve-answer'))
        .toMatchObject([
          { accepted: false, reason: expect.stringContaining('no curves') },
          { accepted: false, reason: expect.stringContaining('no such target') },
        ])
    })
  })

  it('hears of a target that fails', async () => {
    await serving(['pid:1,range=0x1000-0x2000', ...FAST, ...NO_CURVES], async url => {
      const client = await LiveClient.open(url)
      await expect
        .poll(() => client.events.map(({ event }) => event.kind), { timeout: 20_000 })
        .toContain('failed')
    })
  })

  it('is closed at the end', async () => {
    let client: LiveClient | undefined
    await serving([guest, ...FAST, ...NO_CURVES], async url => {
      client = await LiveClient.open(url)
    })
    expect(await client?.closed).toBe(1001)
  })

  it('needs a ticket, which only the token gives', async () => {
    const env = { DIRTYRATE_TOKEN: TOKEN }
    await serving([guest, ...FAST, ...NO_CURVES], withTicket, { env })
  })

  it('is encrypted by the certificate of a file', async () => {
    const { cert, files } = certificate()
    await serving([guest, ...FAST, ...NO_CURVES, ...files], async url => {
      expect(url).toMatch(/^https:/)
      const options = { ca: cert }
      const client = await LiveClient.open(url, options)
      await expect.poll(() => client.controls('hello').length).toBe(1)
      const metrics = await new Promise<string>((resolve, reject) => {
        get(url, options, response => resolve(text(response))).on('error', reject)
      })
      expect(metrics).toContain('dirtyrate_build_info')
      await expect(fetch(url.replace('https', 'http'))).rejects.toThrow('fetch failed')
    })
  })
})

async function withTicket(url: string): Promise<void> {
  const { origin } = new URL(url)
  await expect(LiveClient.open(url)).rejects.toThrow('401')
  expect((await fetch(`${origin}/ticket`)).status).toBe(401)
  const response = await fetch(`${origin}/ticket`, {
    headers: { Authorization: `Bearer ${TOKEN}` },
  })
  const { ticket } = (await response.json()) as { ticket: string }
  const client = await LiveClient.open(url, {}, `?ticket=${ticket}`)
  await expect.poll(() => client.controls('hello').length).toBe(1)
  await expect(LiveClient.open(url, {}, `?ticket=${ticket}`)).rejects.toThrow('401')
}

function certificate(): { cert: Buffer; files: string[] } {
  const file = folder()
  const [cert, key] = [file('cert.pem', ''), file('key.pem', '')]
  makeCertificate(cert, key)
  return { cert: readFileSync(cert), files: ['--tls-cert', cert, '--tls-key', key] }
}
