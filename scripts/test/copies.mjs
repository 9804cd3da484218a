/**
 * Builds and runs a program that has two versions of the core in it, as a dependency tree may have.
 * No symbol of one version may be used by the other. This is done with and without link-time
 * optimization, which assembles all of a program at once.
 */

import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../root.mjs'

const crates = ['dirtyrate', 'dirtyrate-machine']
const place = join(root, 'target/copies')
const versions = ['0.0.1', '0.0.2']

rmSync(join(place, 'copies'), { recursive: true, force: true })
mkdirSync(join(place, 'program/src'), { recursive: true })
const workspace = readFileSync(join(root, 'Cargo.toml'), 'utf8').replace(
  /^(members|exclude) = .*\n/gm,
  '',
)
// The versions that the tests of everything else are built with.
cpSync(join(root, 'Cargo.lock'), join(place, 'program/Cargo.lock'))
for (const version of versions) {
  // A workspace of its own, because none may have two packages of one name.
  const copy = join(place, 'copies', version)
  for (const crate of crates) {
    const [from, to] = [join(root, 'crates', crate), join(copy, crate)]
    for (const part of readdirSync(from).filter(name =>
      ['src', 'build.rs', 'README.md'].includes(name),
    ))
      cpSync(join(from, part), join(to, part), { recursive: true })
    const manifest = readFileSync(join(from, 'Cargo.toml'), 'utf8')
      .replace('version.workspace = true', `version = "${version}"`)
      .replace(/dirtyrate = \{ version = "[^"]*"/, `dirtyrate = { version = "${version}"`)
      .replace(/\n\[\[(bench|example)\]\][\s\S]*$/, '\n')
    writeFileSync(join(to, 'Cargo.toml'), manifest)
  }
  writeFileSync(
    join(copy, 'Cargo.toml'),
    workspace.replace('[workspace]\n', '[workspace]\nmembers = ["*"]\n'),
  )
}
const names = versions.map((_, number) => `copy_${number}`)
writeFileSync(
  join(place, 'program/Cargo.toml'),
  `[package]\nname = "program"\nversion = "0.0.0"\nedition = "2024"\n\n[dependencies]\n${versions
    .map(
      (version, number) =>
        `${names[number]} = { package = "dirtyrate-machine", path = "../copies/${version}/dirtyrate-machine", version = "=${version}" }\n`,
    )
    .join('')}\n[profile.release]\nlto = "fat"\nopt-level = 1\n\n[workspace]\n`,
)
const guest = name => `{
        use ${name}::workload::{Kind, Pacing, Placement, RamRange, Sharing, Workload};
        let workload = Workload {
            kind: Kind::Stride, pages: 9, vcpus: 1, sharing: Sharing::Split, placement: Placement::Packed,
            pacing: Pacing::Free, seed: 0,
        };
        let ram = [RamRange { guest_address: 0, bytes: 64 << 20 }];
        workload.build(&ram, 4096).expect("a guest").elf().to_vec()
    }`
writeFileSync(
  join(place, 'program/src/main.rs'),
  `fn main() {\n    let guests = [${names.map(guest).join(', ')}];
    assert!(guests[0].len() > 4096 && guests[0] == guests[1]);\n}\n`,
)
for (const profile of [[], ['--release']]) {
  // Only the two copies are new to the lock, and it keeps what it has.
  const args = ['run', '--quiet', ...profile]
  execFileSync('cargo', args, { cwd: join(place, 'program'), stdio: 'inherit' })
}
console.log('two versions of the core are in one program, and both build the same guest')
