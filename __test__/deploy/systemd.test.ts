/** deploy/systemd/: systemd understands the unit, and the command understands what it starts. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { makeProgram } from '../../ts/cli/program.js'
import { root, run } from '../fixtures/command.js'
import { describeInstalled } from '../fixtures/installed-programs.js'

const unit = readFileSync(join(root, 'deploy/systemd/dirtyrate.service'), 'utf8')

/** The unit, whose program and manual page are taken for installed. */
function installed(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-unit-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'dirtyrate.service')
  const text = unit.replace('ExecStart=dirtyrate ', 'ExecStart=/bin/true ')
  writeFileSync(file, text.replace(/^Documentation=.*\n/m, ''))
  return file
}

describeInstalled('systemd-analyze', 'systemd', () => {
  it('understands each line of the unit', async () => {
    const { status, stdout, stderr } = await run('systemd-analyze', ['verify', installed()])
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
  })

  it('rates its exposure as low', async () => {
    const { stdout } = await run('systemd-analyze', ['security', '--offline=true', installed()])
    const [, exposure] =
      /Overall exposure level for dirtyrate\.service: ([\d.]+)/.exec(stdout) ?? []
    // What remains are the two capabilities, and the network.
    expect(Number(exposure)).toBeLessThanOrEqual(2.5)
  })
})

describe('the unit', () => {
  it('starts a command line that there is', () => {
    const [, line = ''] = /^ExecStart=dirtyrate (.*)$/m.exec(unit) ?? []
    const [name, ...words] = line.split(' ')
    const command = makeProgram(async () => {}).commands.find(one => one.name() === name)
    const options = words.filter(word => word.startsWith('--'))
    expect(options).toEqual(['--config', '--token-file'])
    for (const option of options) expect(command?.options.map(({ long }) => long)).toContain(option)
  })

  it('has the configuration of deploy/, and reads it again by the signal for that', () => {
    expect(readFileSync(join(root, 'deploy/README.md'), 'utf8')).toContain(
      'sudo cp deploy/serve.yaml /etc/dirtyrate/\n',
    )
    expect(unit).toMatch(/^ExecStart=dirtyrate serve --config \/etc\/dirtyrate\/serve\.yaml /m)
    expect(unit).toMatch(/^ExecReload=\/bin\/kill -HUP \$MAINPID$/m)
  })

  it('takes the end by a signal for a success', () => {
    expect(unit).toMatch(/^SuccessExitStatus=143 130$/m)
  })
})
