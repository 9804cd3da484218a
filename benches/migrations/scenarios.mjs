// Which virtual machines are migrated, and how: each machine is measured once and then migrated
// several times, with other limits each time.

const MIB = 2 ** 20
const PAGE = 4096

/**
 * Pairs of the link's bandwidth, as a multiple of the guest's rate of writes, and of the limit of
 * the downtime in ms. A guest that writes faster than the link carries stalls unless it writes the
 * same pages again and again within the downtime.
 */
const links = {
  stride: [
    [0.5, 300],
    [0.9, 300],
    [1.3, 100],
    [2, 300],
    [0.9, 3000],
  ],
  random: [
    [0.5, 300],
    [0.8, 1000],
    [1, 100],
    [1.3, 100],
    [2.5, 100],
  ],
  'hot-cold': [
    [0.3, 300],
    [0.5, 1000],
    [0.8, 300],
    [1.2, 100],
    [2.5, 300],
  ],
  idle: [
    [1, 300],
    [2, 100],
  ],
}

/** A guest of `gib` GiB that writes `pages` pages at `mibPerSecond`. */
function machine(gib, kind, pages, mibPerSecond, placement = 'packed') {
  const rate = (mibPerSecond || 100) * MIB
  return {
    name: `${gib}gib-${kind}${kind === 'idle' ? '' : `-${pages}-${placement}`}`,
    memoryBytes: gib * 1024 * MIB,
    guest: {
      kind,
      ...(kind === 'idle' ? {} : { pages, rate, placement }),
      ...(kind === 'random' || kind === 'hot-cold' ? { seed: pages } : {}),
    },
    setBytes: kind === 'idle' ? 0 : pages * PAGE,
    migrations: links[kind].map(([share, downtimeMs]) => ({
      bandwidthBytesPerSecond: Math.round(share * rate),
      downtimeMs,
    })),
  }
}

/**
 * A Linux with real programs at work, in a QEMU without KVM. Nobody knows how fast they write, so
 * the bandwidths are given as they are.
 */
function linux(load, setBytes, limits) {
  return {
    name: `1gib-linux-${load}`,
    memoryBytes: 1024 * MIB,
    guest: { kind: 'linux', load },
    setBytes,
    migrations: limits.map(([mbPerSecond, downtimeMs]) => ({
      bandwidthBytesPerSecond: mbPerSecond * 1e6,
      downtimeMs,
    })),
  }
}

export const machines = [
  machine(1, 'stride', 60_000, 100),
  machine(1, 'random', 100_000, 100),
  machine(1, 'hot-cold', 150_000, 100),
  machine(1, 'idle'),
  machine(4, 'stride', 100_000, 100),
  machine(4, 'stride', 200_000, 100, 'even'),
  machine(4, 'random', 150_000, 100),
  machine(4, 'random', 200_000, 100, 'even'),
  machine(4, 'hot-cold', 200_000, 100),
  machine(4, 'hot-cold', 250_000, 100, 'even'),
  machine(8, 'stride', 250_000, 100, 'even'),
  machine(8, 'random', 150_000, 100),
  machine(8, 'random', 300_000, 100, 'even'),
  machine(8, 'hot-cold', 300_000, 100, 'even'),
  machine(8, 'idle'),
  linux('redis', 100 * MIB, [
    [10, 300],
    [25, 300],
    [50, 300],
    [100, 300],
  ]),
  linux('stress-ng', 100 * MIB, [
    [20, 300],
    [40, 300],
    [60, 300],
    [120, 300],
  ]),
  linux('mix', 200 * MIB, [
    [20, 300],
    [40, 500],
    [60, 300],
    [120, 300],
  ]),
]
