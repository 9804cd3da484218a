// Starts an npm registry on loopback for the install tests. It has only our packages, and its files
// are below target/.

import { spawn } from 'node:child_process'
import { copyFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { giveUp, orGiveUp } from '../build/prerequisites.mjs'
import { root } from '../root.mjs'
import { npmTools } from '../tools/install.mjs'

const SOURCE = '__test__/install/registry'
const FOLDER = 'target/registry'
const folder = join(root, FOLDER)

/** A port that was free a moment ago. */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

/** How long the registry may take to answer, on a machine that is busy with something else. */
const START_MS = 60_000

/**
 * Starts an empty registry. Resolves with its URL, an npmrc that lets npm publish to it, and how to
 * stop it.
 */
export async function startRegistry() {
  const modules = orGiveUp(() => npmTools(SOURCE, FOLDER))
  copyFileSync(join(root, SOURCE, 'config.yaml'), join(folder, 'config.yaml'))
  rmSync(join(folder, 'storage'), { recursive: true, force: true })
  const address = `127.0.0.1:${await freePort()}`
  const url = `http://${address}/`
  const program = join(modules, 'verdaccio/bin/verdaccio')
  const args = [program, '--config', join(folder, 'config.yaml'), '--listen', address]
  const server = spawn(process.execPath, args, {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const stop = () => {
    server.kill()
  }
  const deadline = Date.now() + START_MS
  while (!(await fetch(`${url}-/ping`).catch(() => undefined))?.ok) {
    if (server.exitCode !== null || Date.now() > deadline) {
      stop()
      giveUp('the registry of the install tests did not start.', 1)
    }
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  // npm publishes nothing without a token, whatever it says: this registry asks for none.
  const npmrc = join(folder, 'npmrc')
  writeFileSync(npmrc, `//${address}/:_authToken=none\n`)
  return { url, npmrc, stop }
}
