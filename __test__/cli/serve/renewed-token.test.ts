/** The token of `serve --config`, which SIGHUP reads again. */

import { writeFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { folder } from '../../fixtures/elf.js'
import { describeKvm } from '../../fixtures/kvm.js'
import { LiveClient } from '../../fixtures/live-client.js'
import { MEMORY } from '../../fixtures/machine.js'
import { serving } from '../../fixtures/serve-command.js'

const [OLD, NEW] = ['00112233445566778899aabbccddeeff', 'ffeeddccbbaa99887766554433221100']
const WAIT = { timeout: 20_000 }

const headers = (token: string) => ({ headers: { Authorization: `Bearer ${token}` } })
const statusOf = async (url: string, token: string): Promise<number> =>
  (await fetch(url, headers(token))).status
const opened = (url: string, query: string): Promise<string> =>
  LiveClient.open(url, {}, query).then(
    () => 'opened',
    (error: Error) => error.message,
  )

describeKvm('a token', () => {
  it('that was renewed counts from SIGHUP on, and a broken one never does', async () => {
    const file = folder()
    const token = file('token', OLD)
    const config = file(
      'serve.yaml',
      `token-file: ${token}
curve-every: never
targets: [{ target: "guest:idle,memory=${MEMORY}" }]
`,
    )
    const { stderr } = await serving(['--config', config], async (url, kill) => {
      const reloads = async (current: string): Promise<string> => {
        const text = await (await fetch(url, headers(current))).text()
        return text.match(/^dirtyrate_config_last_reload_success.*$/gm)?.join() ?? ''
      }
      const client = await LiveClient.open(url, headers(OLD))
      const answer = await fetch(new URL('/ticket', url), headers(OLD))
      const { ticket } = (await answer.json()) as { ticket: string }
      // The same token disturbs nobody.
      const before = await reloads(OLD)
      kill('SIGHUP')
      await expect.poll(() => reloads(OLD), WAIT).not.toBe(before)
      expect(client.socket.readyState).toBe(client.socket.OPEN)

      writeFileSync(token, `${NEW}\n`)
      expect(await statusOf(url, NEW)).toBe(401)
      kill('SIGHUP')
      await expect.poll(() => statusOf(url, NEW), WAIT).toBe(200)
      expect(await statusOf(url, OLD)).toBe(401)
      // Who had the old one has to show the new one.
      expect(await client.closed).toBe(1008)
      expect(await opened(url, `?ticket=${ticket}`)).toBe('401')

      writeFileSync(token, 'short\n')
      kill('SIGHUP')
      await expect.poll(() => reloads(NEW), WAIT).toContain('successful 0')
      expect(await statusOf(url, NEW)).toBe(200)
    })
    expect(stderr.replaceAll(/\s+/g, ' ')).toContain('the token has 5 characters')
    expect(stderr).not.toContain(NEW)
  })
})
