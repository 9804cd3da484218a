// Checks that a fresh machine has everything that a build needs, and says how to get what is
// missing. This is plain Node, because it runs before npm has installed anything, and also on a
// Node that is too old.

import { spawnSync } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'

/** Exit status of "this machine cannot", as the command has it. */
export const EXIT_ENVIRONMENT = 3

const KVM = '/dev/kvm'

/** The first number.number in `text`, comparable. */
function version(text) {
  const match = /(\d+)\.(\d+)/.exec(text)
  return match ? Number(match[1]) * 1000 + Number(match[2]) : 0
}

function output(command, args) {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' })
  return status === 0 ? stdout : undefined
}

/** What is missing to build, one line each; empty when nothing is. */
export function missingToBuild(root) {
  const read = file => readFileSync(new URL(file, root), 'utf8')
  const wantNode = /"node":\s*">=([\d.]+)"/.exec(read('package.json'))?.[1] ?? '20.19'
  const wantRust = /rust-version\s*=\s*"([\d.]+)"/.exec(read('Cargo.toml'))?.[1] ?? '1.88'
  const missing = []
  if (process.platform !== 'linux')
    missing.push(`Linux is needed, for KVM; this is ${process.platform}.`)
  if (version(process.versions.node) < version(wantNode)) {
    missing.push(
      `Node ${wantNode} or later is needed; this is ${process.versions.node}. Get it from nodejs.org, or: nvm install 22`,
    )
  }
  const cargo = output('cargo', ['--version'])
  if (cargo === undefined) {
    missing.push('cargo is missing: the core is written in Rust. Get it from rustup.rs')
  } else if (version(cargo) < version(wantRust)) {
    missing.push(
      `Rust ${wantRust} or later is needed; this is ${cargo.trim()}. Get it with: rustup update stable`,
    )
  }
  if (output('cc', ['--version']) === undefined) {
    missing.push(
      'A C linker (cc) is missing: Rust links with it. Get it with: sudo apt-get install build-essential',
    )
  }
  return missing
}

/** Why KVM cannot be used here and what to do, in two lines; undefined when it can. */
export function missingKvm() {
  try {
    accessSync(KVM, constants.R_OK | constants.W_OK)
    return undefined
  } catch (error) {
    if (error.code === 'EACCES' || error.code === 'EPERM') {
      return `no permission to open ${KVM}.\nRun as root, or as a user who may read and write it: ls -l ${KVM} shows who that is.`
    }
    return `${KVM} does not exist: this machine offers no KVM.\nUse a Linux machine, x86-64 or arm64, with virtualization switched on (in a VM: nested virtualization) and its kvm module loaded.`
  }
}

/** Ends the process with `text` in the command's form. */
export function giveUp(text, status = EXIT_ENVIRONMENT) {
  process.stderr.write(`dirtyrate: ${text}\n`)
  process.exit(status)
}

/**
 * Returns what `act` returns. If `act` throws, the process ends with the error's message in the
 * command's form.
 */
export function orGiveUp(act) {
  try {
    return act()
  } catch (error) {
    return giveUp(`${error.message}.`, 1)
  }
}
