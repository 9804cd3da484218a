/** The certificate of `serve --config`, which SIGHUP reads again. */

import { X509Certificate } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { text } from 'node:stream/consumers'
import { connect } from 'node:tls'
import { expect, it } from 'vitest'
import { makeCertificate } from '../../fixtures/certificate.js'
import { folder } from '../../fixtures/elf.js'
import { describeKvm } from '../../fixtures/kvm.js'
import { MEMORY } from '../../fixtures/machine.js'
import { serving } from '../../fixtures/serve-command.js'

const ANY = { rejectUnauthorized: false }

/** Which certificate the server shows to those that connect now. */
function shownAt(url: string): Promise<string | undefined> {
  const { hostname: host, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = connect({ ...ANY, host, port: Number(port) }, () => {
      resolve(socket.getPeerX509Certificate()?.fingerprint256)
      socket.destroy()
    })
    socket.once('error', reject)
  })
}

const metricsAt = (url: string): Promise<string> =>
  new Promise((resolve, reject) => {
    get(url, ANY, response => resolve(text(response))).on('error', reject)
  })

describeKvm('a certificate', () => {
  it('that was renewed is shown from SIGHUP on, and a broken one never is', {
    timeout: 60_000,
  }, async () => {
    const file = folder()
    const [cert, key] = [file('cert.pem', ''), file('key.pem', '')]
    const fingerprint = (): string => new X509Certificate(readFileSync(cert)).fingerprint256
    makeCertificate(cert, key)
    const config = file(
      'serve.yaml',
      `tls-cert: ${cert}
tls-key: ${key}
curve-every: never
targets: [{ target: "guest:idle,memory=${MEMORY}" }]
`,
    )
    const { stderr } = await serving(['--config', config], async (url, kill) => {
      const first = fingerprint()
      expect(await shownAt(url)).toBe(first)

      makeCertificate(cert, key)
      const second = fingerprint()
      expect(second).not.toBe(first)
      expect(await shownAt(url)).toBe(first)
      kill('SIGHUP')
      await expect.poll(() => shownAt(url), { timeout: 20_000 }).toBe(second)

      writeFileSync(cert, 'no certificate\n')
      kill('SIGHUP')
      await expect
        .poll(() => metricsAt(url), { timeout: 20_000 })
        .toContain('\ndirtyrate_config_last_reload_successful 0\n')
      expect(await shownAt(url)).toBe(second)
    })
    expect(stderr.replaceAll(/\s+/g, ' ')).toContain('tls-cert: the files are not a certificate')
  })
})
