/**
 * Builds a program that has two versions of the core in it, as a dependency tree may, and runs it: no symbol of one may be the other's. With
 * and without link-time optimization, which assembles all of a program at once.
 */

import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../root.mjs'

const core = join(root, 'crates/dirtyrate')
const place = join(root, 'target/copies')
const versions = ['0.0.1', '0.0.2']

rmSync(join(place, 'copies'), { recursive: true, force: true })
mkdirSync(join(place, 'program/src'), { recursive: true })
const workspace = readFileSync(join(root, 'Cargo.toml'), 'utf8').replace(/^(members|exclude) = .*\n/gm, '')
// The versions that the tests of everything else are built with.
cpSync(join(root, 'Cargo.lock'), join(place, 'program/Cargo.lock'))
for (const version of versions) {
  const copy = join(place, 'copies', version)
  for (const part of ['src', 'build.rs', 'README.md'])
    cpSync(join(core, part), join(copy, part), { recursive: true })
  const manifest = readFileSync(join(core, 'Cargo.toml'), 'utf8')
    .replace('version.workspace = true', `version = "${version}"`)
    .replace(/\n\[\[bench\]\][\s\S]*$/, '\n')
  // A workspace of its own, because none may have two packages of one name.
  writeFileSync(join(copy, 'Cargo.toml'), `${manifest}\n${workspace}`)
}
const names = versions.map((_, number) => `copy_${number}`)
writeFileSync(
  join(place, 'program/Cargo.toml'),
  `[package]\nname = "program"\nversion = "0.0.0"\nedition = "2024"\n\n[dependencies]\n${versions
    .map(
      (version, number) =>
        `${names[number]} = { package = "dirtyrate", path = "../copies/${version}", version = "=${version}" }\n`,
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
