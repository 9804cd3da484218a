// The package with its tests, and a Node to run them in the rig.

import { randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { cCompiler, crossBuild } from '../build/cross-build.mjs'
import { host, pack, platforms, stageMain, stagePlatform } from '../package/packages.mjs'
import { root } from '../root.mjs'
import { compileC, cPrograms } from '../test/c-programs.mjs'
import { Cpio } from './cpio.mjs'
import { cache, output } from './debian.mjs'

/** The oldest Node that the package is for, as npm has it. */
const NODE_VERSION = 20

/** What the tests import, with what that depends on. */
const PACKAGES = ['@vitest/runner', '@vitest/expect', '@vitest/spy', 'fast-check']

/**
 * Tests that need the machine on which the project is built: npm, a compiler, the repository,
 * namespaces, libvirt or a QEMU. They do not run in a rig. The test rig/installed.rig tests the
 * installed package there.
 */
const OF_THE_MACHINE = new RegExp(
  [
    '^(host|install|page|scripts|targets/libvirt)/',
    '^faults/(faults|process-faults)\\.test$',
    '^cli/(compare|csv|doctor|environment|json|list|manual|shells)\\.test$',
    '^qmp/(connection|server-and-qemu|server-of-targets|server-schema)\\.test$',
    '^targets/qmp/(libvirt-socket|measuring|migrating|sharing|truth)\\.test$',
    '^targets/process/process-target\\.test$',
    '^(docs|paced-by-clock|qapi/golden-peer|qemu|targets/linux-guest)\\.test$',
  ].join('|'),
)

/** Tests that need soft-dirty bits: only Linux for x86-64 has them. */
const OF_SOFT_DIRTY = new RegExp(
  [
    '^targets/process/(soft-dirty-bits|cells)\\.test$',
    '^faults/soft-dirty-faults\\.test$',
    '^rig/soft-dirty-ksm\\.rig$',
  ].join('|'),
)

/** Where it all is in the rig. */
const FOLDER = '/rig/package'

/** Where the programs in C are that tests run beside themselves. */
const PROGRAMS = '/rig/programs'

/** Where the package is as a user has it. */
const INSTALLED = '/rig/installed'

/**
 * How long one file may take; and the boot of a Linux, which makes an emulated rig stand now and
 * then.
 */
const SECONDS = 900
const LINUX_SECONDS = 300

/** Node's program for `node`, an architecture as Node calls it. */
function nodeOf({ node }) {
  const name = `node-linux-${node}`
  const folder = join(cache, `${name}-${NODE_VERSION}`)
  if (!existsSync(folder)) {
    const partial = `${folder}.partial`
    rmSync(partial, { recursive: true, force: true })
    mkdirSync(partial, { recursive: true })
    const packed = output('npm', ['pack', '--silent', `${name}@${NODE_VERSION}`], { cwd: partial })
    output('tar', ['-xzf', packed.trim().split('\n').at(-1)], { cwd: partial })
    renameSync(partial, folder)
  }
  return join(folder, 'package/bin/node')
}

/** The rig's platform, and the binary for it: as npm run setup built it, or as it is published. */
function bindingOf({ target }) {
  const platform = platforms.find(platform => platform.target === target)
  const binary = platform === host ? join(root, 'native', platform.file) : crossBuild(platform)
  return { platform, binary }
}

/**
 * A folder in which npm has installed the packed package, with its platform's, as on a machine of
 * the rig's; see __test__/rig/installed.rig.ts.
 */
function installedPackage(platform, binary) {
  const folder = join(root, 'target/rig/installed', platform.name)
  rmSync(folder, { recursive: true, force: true })
  const packages = join(folder, 'packages')
  mkdirSync(packages, { recursive: true })
  const staged = [stagePlatform(platform, binary, packages), stageMain(packages)]
  const tarballs = staged.map(stage => pack(stage, packages).tarball)
  const user = join(folder, 'user')
  mkdirSync(user)
  writeFileSync(join(user, 'package.json'), '{ "private": true }\n')
  // By force: this machine may be another.
  const machine = [
    `--os=${platform.os}`,
    `--cpu=${platform.cpu}`,
    `--libc=${platform.libc}`,
    '--force',
  ]
  output('npm', ['install', '--offline', '--no-audit', '--no-fund', ...machine, ...tarballs], {
    cwd: user,
  })
  return user
}

/** The folders of installed packages and of their dependencies, by name. */
function installed(names, found = new Map()) {
  for (const name of names.filter(name => !found.has(name))) {
    const folder = join(root, 'node_modules', name)
    found.set(name, folder)
    const { dependencies = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    // Types are of no use there.
    installed(
      Object.keys(dependencies).filter(dependency => !dependency.startsWith('@types/')),
      found,
    )
  }
  return found
}

/** ts/ and __test__/ as JavaScript, file by file. */
function compiled() {
  const folder = join(root, 'target/rig/js')
  rmSync(folder, { recursive: true, force: true })
  const options = ['--noEmit', 'false', '--declaration', 'false', '--isolatedDeclarations', 'false']
  const tsc = join(root, 'node_modules/.bin/tsc')
  output(tsc, ['-p', root, ...options, '--rootDir', root, '--outDir', folder])
  return folder
}

/** What the Linux in the rig's own VM writes, again and again; see __test__/rig/linux.rig.ts. */
const LINUX_MIB = 32
/**
 * A page of the guest's that the host finds by what it begins with: behind that come the passes
 * that are done, in 8 digits, and a character that the host changes when the guest may end. Any
 * kernel lets a program read and write a file in memory; /dev/mem, only some.
 */
const MAILBOX = randomBytes(16).toString('hex')
const LINUX_ENV = [
  'DIRTYRATE_RIG_LINUX=/rig/linux',
  `DIRTYRATE_RIG_LINUX_BYTES=${LINUX_MIB << 20}`,
  `DIRTYRATE_RIG_LINUX_MAILBOX=${MAILBOX}`,
]
/**
 * No step of it waits for an interrupt: what it says it says as the kernel, whose console is
 * polled, and it does not sleep. In the emulated rigs an interrupt that KVM waits to inject is
 * sometimes never taken, and with it the timer is gone.
 */
const LINUX_INIT = `#!/bin/sh
mount -t proc none /proc
say() { echo "$*" >/dev/kmsg; }
say "$(grep -c ^processor /proc/cpuinfo) CPUs"
pass=0
until [ "$(dd if=/mailbox bs=1 skip=${MAILBOX.length + 8} count=1 2>/dev/null)" = e ]; do
  dd if=/dev/zero of=/file bs=1M count=${LINUX_MIB} conv=notrunc 2>/dev/null
  pass=$((pass + 1))
  printf %08d $pass | dd of=/mailbox bs=8 seek=${MAILBOX.length / 8} conv=notrunc 2>/dev/null
  say "pass $pass of the shell"
done
say "the shell is done"
poweroff -f
`

/** A Linux for a VM in the rig: the rig's own kernel, and an initrd with a script. */
function linux(cpio, { image, busybox }) {
  const initrd = new Cpio()
  for (const name of ['dev', 'proc']) initrd.folder(name)
  initrd.device('dev/console', 5, 1)
  initrd.device('dev/kmsg', 1, 11)
  initrd.device('dev/zero', 1, 5)
  initrd.device('dev/null', 1, 3)
  initrd.copy('bin/busybox', busybox)
  for (const name of ['sh', 'dd', 'mount', 'grep', 'poweroff'])
    initrd.link(`bin/${name}`, 'busybox')
  initrd.program('init', LINUX_INIT)
  initrd.file('mailbox', `${MAILBOX}00000000-`)
  cpio.copy('rig/linux/vmlinuz', image)
  cpio.file('rig/linux/initrd', initrd.archive())
}

/** Compiles the programs in C for the rig, and puts them there. */
function programs(cpio, { node, target }) {
  const folder = join(root, 'target/rig/c', target)
  mkdirSync(folder, { recursive: true })
  const compiler = node === process.arch ? undefined : cCompiler(target)
  for (const name of cPrograms) {
    const path = join(folder, name)
    compileC(name, path, compiler)
    cpio.copy(join(PROGRAMS.slice(1), name), path)
  }
}

/** The jobs of the rig, one for each test file, and what they need in the initrd. */
export function nodeTests(rig, { only, env }) {
  const js = compiled()
  const files = readdirSync(join(js, '__test__'), { recursive: true })
    .filter(path => /\.(test|rig)\.js$/.test(path))
    .map(path => path.replace(/\.js$/, ''))
    .filter(name => only(name) && !OF_THE_MACHINE.test(name))
    .filter(name => rig.softDirty || !OF_SOFT_DIRTY.test(name))
    // Tests for rigs only come last, because a whole Linux may crash an emulated rig.
    .sort((a, b) => Number(a.endsWith('.rig')) - Number(b.endsWith('.rig')) || (a < b ? -1 : 1))
  const jobs = files.map(file => ({
    name: file,
    seconds: file === 'rig/linux.rig' ? LINUX_SECONDS : SECONDS,
    folder: FOLDER,
    command: [
      'env',
      ...env,
      ...LINUX_ENV,
      `DIRTYRATE_RIG_INSTALLED=${INSTALLED}`,
      `DIRTYRATE_RIG_PROGRAMS=${PROGRAMS}`,
      'node',
      '--expose-gc',
      `${FOLDER}/run.mjs`,
      `${FOLDER}/__test__/${file}.js`,
    ],
  }))
  const fill = (cpio, of) => {
    if (jobs.length === 0) return
    linux(cpio, of)
    if (jobs.some(({ name }) => OF_SOFT_DIRTY.test(name))) programs(cpio, rig)
    cpio.copy('rig/bin/node', nodeOf(rig))
    const into = path => join(FOLDER.slice(1), path)
    for (const name of ['ts', '__test__']) cpio.copy(into(name), join(js, name))
    for (const name of ['package.json', 'dist', 'examples', 'scripts'])
      cpio.copy(into(name), join(root, name))
    const { platform, binary } = bindingOf(rig)
    cpio.copy(into('native'), join(root, 'native'), path => !path.endsWith('.node'))
    cpio.copy(into(`native/${platform.file}`), binary)
    cpio.copy(INSTALLED.slice(1), installedPackage(platform, binary))
    const isData = path => !path.endsWith('.ts')
    for (const path of readdirSync(join(root, '__test__'), {
      recursive: true,
      withFileTypes: true,
    })) {
      if (!path.isFile() || !isData(path.name)) continue
      const from = join(path.parentPath, path.name)
      cpio.copy(into(from.slice(root.length + 1)), from)
    }
    cpio.copy(into('run.mjs'), join(root, 'scripts/rig/inside/run.mjs'))
    for (const [name, folder] of installed(PACKAGES)) {
      cpio.copy(into(`node_modules/${name}`), folder, path => !/\.(map|d\.[cm]?ts)$/.test(path))
    }
    const shim = join(root, 'scripts/rig/inside/vitest.mjs')
    cpio.file(
      into('node_modules/vitest/package.json'),
      '{ "type": "module", "exports": "./index.mjs" }',
    )
    cpio.copy(into('node_modules/vitest/index.mjs'), shim)
  }
  return { jobs, fill }
}
