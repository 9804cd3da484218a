// What ts/ may import: downwards only, without a circle, in types too. dependency-cruiser holds
// these rules (scripts/lint/imports.mjs).
//
// The rooms of ts/, from the ground up. A room may import from itself and from rooms before it in
// this list:
//
//   ground        errors, units, arguments, abort, log, the native binding, and what they are made of
//   results       what a measurement says
//   qapi          QEMU's types, limits, arithmetic and texts, which are computed from a result
//   measurement   the meter, over a source; it knows no kind of VM
//   targets       one room for each kind of target, and the table of schemes
//   host          the VMs of others on this host, and what this host can measure
//   services      the dashboard, the metrics, the server: none imports another
//   cli           the command, which puts the services together
//   index.ts      what the package exports
//
// prediction/ stands on results/, and on what ground/ has for arguments; all of these run in a
// browser. qmp/ has the protocol, and knows of targets only their interface.

const { builtinModules } = require('node:module')

/** The files of each room. */
const ROOMS = [
  ['ground', 'ts/ground/'],
  ['results', 'ts/results/'],
  ['qapi', 'ts/qapi/'],
  ['measurement', 'ts/measurement/'],
  ['targets', 'ts/targets/'],
  ['host', 'ts/host/'],
  ['services', 'ts/(dashboard|metrics|server)/'],
  ['cli', 'ts/cli/'],
  ['index', 'ts/index\\.ts$'],
].map(([name, files]) => ({ name, files: `^${files}` }))

/** What the binding is to TypeScript: its declarations, and the module that loads its binary. */
const BINDING = '^(native/|ts/ground/binary\\.ts$)'
/** The interface that every target has, which is all that its users may know of it. */
const TARGET = 'ts/targets/target\\.ts$'

const climbs = ROOMS.slice(0, -1).map(({ name, files }, at) => ({
  name: `${name}-climbs`,
  comment: `${name} may not import from a room above it`,
  from: { path: files },
  to: { path: ROOMS.slice(at + 1).map(room => room.files) },
}))

module.exports = {
  forbidden: [
    ...climbs,
    {
      name: 'circle',
      comment:
        'modules import each other, perhaps for types only: one of them has to be cut in two',
      from: {},
      to: { circular: true },
    },
    {
      name: 'services-are-siblings',
      comment: 'the dashboard, the metrics and the server know nothing of each other',
      from: { path: '^ts/(dashboard|metrics|server)/' },
      to: { path: '^ts/(dashboard|metrics|server)/', pathNot: '^ts/$1/' },
    },
    {
      name: 'services-take-any-target',
      comment:
        'the dashboard, the metrics and the server stand on the interface of targets and on results',
      from: { path: '^ts/(dashboard|metrics|server)/' },
      to: { path: ['^ts/(measurement|qapi)/', '^ts/targets/', BINDING], pathNot: `^${TARGET}` },
    },
    {
      name: 'kinds-of-target-are-siblings',
      comment:
        'a kind of target knows nothing of another kind; targets/qemu/ has what the kinds share that QEMU measures',
      from: { path: '^ts/targets/([^/]+)/' },
      to: { path: '^ts/targets/[^/]+/', pathNot: '^ts/targets/($1|qemu)/' },
    },
    {
      name: 'only-the-table-opens-targets',
      comment: 'of what the kinds of targets share, only the table of schemes knows the kinds',
      from: { path: '^ts/targets/[^/]+\\.ts$', pathNot: '^ts/targets/open\\.ts$' },
      to: { path: '^ts/targets/[^/]+/' },
    },
    {
      name: 'prediction-is-pure',
      comment: 'prediction stands on results, and on what ground has for arguments and errors',
      from: { path: '^ts/prediction/' },
      to: {
        path: '^(ts|native)/',
        pathNot:
          '^ts/(prediction/|results/|ground/(arguments|errors|likely-unit|readable|suggest|units)\\.ts$)',
      },
    },
    {
      name: 'browser',
      comment:
        'dashboard, prediction and results run in a browser, which has neither the modules of Node nor the binding',
      from: { path: '^ts/(dashboard|prediction|results)/' },
      to: { path: ['^native/', `^(node:)?(${builtinModules.join('|')})$`], reachable: true },
    },
    {
      name: 'qmp-takes-any-target',
      comment: 'the protocol knows of targets only their interface',
      from: { path: '^ts/qmp/' },
      to: {
        path: '^ts/(targets|measurement|cli|dashboard|metrics|server|index\\.ts)',
        pathNot: `^${TARGET}`,
      },
    },
    {
      name: 'measurement-knows-no-vm',
      comment:
        'the meter measures over a source, and knows nothing of the binding or of a kind of VM',
      from: { path: '^ts/measurement/' },
      to: { path: ['^ts/ground/native\\.ts$', BINDING] },
    },
    {
      name: 'one-door-to-the-binding',
      comment: 'all other modules take the binding from native.ts',
      from: { path: '^ts/', pathNot: '^ts/ground/(native|binary)\\.ts$' },
      to: { path: BINDING },
    },
    {
      name: 'root-is-the-index',
      comment: 'in ts/ itself only index.ts is left',
      from: { path: '^ts/index\\.ts$' },
      to: { path: '^ts/[^/]+\\.ts$' },
    },
    {
      name: 'the-package-depends-on-nothing',
      comment:
        'the main entry has no dependency: only the command, the metrics and the server have packages of npm, in the bundle of the command',
      from: { path: '^ts/', pathNot: '^ts/(cli|metrics|server)/' },
      to: { dependencyTypes: ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg'] },
    },
    {
      name: 'services-are-in-the-command',
      comment: 'the package exports nothing of the command and of the services',
      from: { path: '^ts/index\\.ts$' },
      to: { path: '^ts/(cli|dashboard|metrics|server)/', reachable: true },
    },
    {
      name: 'nothing-from-beside',
      comment: 'the package is made of ts/ and of the binding',
      from: { path: '^ts/' },
      to: { path: '^(__test__|benches|examples|scripts|dist)/' },
    },
    {
      name: 'orphan',
      comment: 'no module imports this one',
      from: { orphan: true, path: '^ts/', pathNot: '^ts/(index|prediction/index|cli/main)\\.ts$' },
      to: {},
    },
  ].map(rule => ({ severity: 'error', ...rule })),
  options: {
    doNotFollow: { path: ['node_modules', '^native/'] },
    // Imports of types count as well.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
  },
}
