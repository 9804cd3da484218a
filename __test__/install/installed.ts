/**
 * A user's folder: empty, somewhere else, and with nothing on its PATH but Node, npm and a shell.
 */

import { spawn } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'

function given(name: string): string {
  const value = process.env[name]
  if (value === undefined)
    throw new Error(`${name} is not set: run these tests with npm run test:install`)
  return value
}

/** Has the tarballs. */
export const packages: string = given('DIRTYRATE_PACKAGES')

/** The package of the platform that this runs on. */
export const platformPackage: string = given('DIRTYRATE_PLATFORM_PACKAGE')

/** On loopback, with our packages and nothing else. */
export const registry: string = given('DIRTYRATE_REGISTRY')

/** The tarball of a package. */
export function tarball(name: string): string {
  const file = readdirSync(packages).find(entry => new RegExp(`^${name}-\\d.*\\.tgz$`).test(entry))
  if (file === undefined) throw new Error(`${name} was not packed`)
  return join(packages, file)
}

export interface Ended {
  status: number | null
  stdout: string
  stderr: string
}

/** What a shell is, and all that a user of npm has for certain. */
const PROGRAMS = ['sh', 'ls', 'cat']

/** A folder of a user, removed with `remove`. */
export class UserFolder {
  readonly path: string = mkdtempSync(join(tmpdir(), 'dirtyrate-user-'))
  readonly #bin: string = join(this.path, '.bin')
  /** Where packages are installed: nothing of ours is in it. */
  readonly project: string = join(this.path, 'project')

  constructor(node: string = process.execPath) {
    mkdirSync(this.#bin)
    mkdirSync(this.project)
    symlinkSync(node, join(this.#bin, 'node'))
    for (const name of ['npm', 'npx']) {
      symlinkSync(realpathSync(join(dirname(process.execPath), name)), join(this.#bin, name))
    }
    for (const name of PROGRAMS)
      symlinkSync(realpathSync(join('/bin', name)), join(this.#bin, name))
  }

  /** Writes a file of the project. */
  write(name: string, content: string): string {
    const path = join(this.project, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
    return path
  }

  /**
   * Runs a program there. Nothing of this process's environment gets through, npm's settings
   * included.
   */
  run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        cwd: this.project,
        env: { PATH: this.#bin, HOME: this.path, npm_config_update_notifier: 'false', ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let stdout = ''
      let stderr = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text
      })
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text
      })
      child.on('error', reject)
      child.on('close', status => resolve({ status, stdout, stderr }))
    })
  }

  /**
   * Runs a line of shell there, as a person types it; its failure is the test's. Resolves with its
   * standard output.
   */
  async shell(line: string, env?: NodeJS.ProcessEnv): Promise<string> {
    const { status, stdout, stderr } = await this.run('sh', ['-ec', line], env)
    expect({ line, status, stderr: status === 0 ? '' : stderr + stdout }).toEqual({
      line,
      status: 0,
      stderr: '',
    })
    return stdout
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
