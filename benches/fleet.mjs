// A fleet of synthetic VMs, from a repeatable generator: what benches/plan.mjs plans.

/** A generator of numbers from 0 to 1: the linear congruential one of Park and Miller. */
function randomFrom(seed) {
  let state = seed
  return () => {
    state = (state * 16_807) % 2_147_483_647
    return state / 2_147_483_647
  }
}

const GIB = 2 ** 30
const PAGE = 4096
const WINDOWS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
const SIZES = [2, 4, 8, 8, 16, 16, 32, 64, 128]

/**
 * A VM of two working sets, a hot and a cold one, whose curve has the bounds of page sampling. A
 * part of its memory was never touched.
 */
function vmOf(name, random) {
  const bytes = SIZES[Math.floor(random() * SIZES.length)] * GIB
  const pages = bytes / PAGE
  const zeros = Math.floor(pages * 0.6 * random())
  const hot = (pages - zeros) * 0.05 * random()
  const cold = (pages - zeros) * 0.5 * random()
  // How often the sets are written whole: a hot one in 10 ms to 100 s, a cold one more seldom.
  const fast = 10 ** (-2 + 4 * random())
  const slow = fast * 10 ** (1 + 2 * random())
  const dirty = t => hot * -Math.expm1(-t / fast) + cold * -Math.expm1(-t / slow)
  return {
    name,
    curve: {
      mode: 'page-sampling',
      pageSize: PAGE,
      points: WINDOWS.map(seconds => {
        const bytesPerSecond = (dirty(seconds) * PAGE) / seconds
        return {
          windowNs: seconds * 1e9,
          pages: dirty(seconds),
          bytesPerSecond,
          interval: { low: bytesPerSecond * 0.9, high: bytesPerSecond * 1.1, confidence: 0.95 },
        }
      }),
      memory: { bytes, zeroPages: { value: zeros, low: zeros * 0.95, high: zeros * 1.05 } },
    },
  }
}

/** The VMs of each host. */
export function fleet(hosts, vmsPerHost, seed) {
  const random = randomFrom(seed)
  return Array.from({ length: hosts }, (_, host) =>
    Array.from({ length: vmsPerHost }, (_, vm) => vmOf(`host${host}-vm${vm}`, random)),
  )
}
