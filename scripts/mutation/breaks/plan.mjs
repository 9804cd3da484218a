// Breaks of the plan: shares of the link, sure methods, the division into stages, the times.

const PLAN = '__test__/prediction/plan.test.ts'
const STAGES = '__test__/prediction/plan-stages.test.ts'
const COMMAND = '__test__/cli/plan.test.ts'
const PROMETHEUS = '__test__/cli/plan-prometheus.test.ts'
const CURVES = '__test__/cli/plan-curves.test.ts'

export default [
  {
    name: 'an answer of a Prometheus that is too long is called cut off',
    file: 'ts/cli/plan/prometheus/client.ts',
    find: '            fail(this.#tooLong())\n',
    replace: '',
    test: '__test__/cli/plan-hostile.test.ts -t never ends its answer',
  },
  {
    name: 'a Prometheus may warn as often as it likes',
    file: 'ts/cli/plan/prometheus/hosts.ts',
    find: 'all.slice(0, MOST_SHOWN)',
    replace: 'all',
    test: '__test__/cli/plan-hostile.test.ts -t warnings without an end',
  },
  {
    name: 'a migration that prepares takes its share of the link',
    file: 'ts/prediction/plan/lanes.ts',
    find: 'if (!(setup > 0)) active++',
    replace: 'if (setup >= 0) active++',
    test: `${STAGES} -t small steps`,
  },
  {
    name: 'a migration keeps the share that it began with',
    file: 'ts/prediction/plan/lanes.ts',
    find: 'lane.job?.copySeconds(lane.counted, active) ?? 0',
    replace: 'lane.job?.copySeconds(lane.counted, width) ?? 0',
    test: `${STAGES} -t small steps`,
  },
  {
    name: 'of a few migrations only the usual divisions are compared',
    file: 'ts/prediction/plan/stages.ts',
    find: 'if (few) compareAll(jobs, tried, found, least)',
    replace: 'if (few) improve(jobs, found, true)',
    test: `${STAGES} -t no division of a few`,
  },
  {
    name: 'in a lane the longest migration is the first',
    file: 'ts/prediction/plan/packing.ts',
    find: '[stage(1), stage(-1)]',
    replace: '[stage(-1), stage(1)]',
    test: `${STAGES} -t leave early`,
  },
  {
    name: 'pieces of memory count as alike whenever they were protected',
    file: 'ts/prediction/precopy.ts',
    find: 'cleared === clearedBefore &&',
    replace: 'cleared >= 0 &&',
    test: '__test__/prediction/agreement.test.ts',
  },
  {
    name: 'a plan may be longer than all at once',
    file: 'ts/prediction/plan/stages.ts',
    find: 'found.offer(allAtOnce(jobs, widths))',
    replace: '',
    test: `${STAGES} -t longer than all migrations at once`,
  },
  {
    name: 'each migration of a wide stage counts on the whole link',
    file: 'ts/prediction/plan/going.ts',
    find: 'Math.min(wanted.bytesPerSecond, linkBytesPerSecond / width)',
    replace: 'Math.min(wanted.bytesPerSecond, linkBytesPerSecond / Math.min(width, 1))',
    test: `${PLAN} -t never share it`,
  },
  {
    name: 'compressed migrations run beside others',
    file: 'ts/prediction/plan/going.ts',
    find: 'if (this.isAlone && width > 1) return Number.POSITIVE_INFINITY',
    replace: 'if (this.isAlone && width > 64) return Number.POSITIVE_INFINITY',
    test: `${PLAN} -t compressed go alone`,
  },
  {
    name: 'two VMs of a plan may have the same name',
    file: 'ts/prediction/plan/plan.ts',
    find: 'if (seen.has(name)) {',
    replace: "if (seen.has('')) {",
    test: `${PLAN} -t refused`,
  },
  {
    name: 'an uncertain migration goes',
    file: 'ts/prediction/plan/offers.ts',
    find: "return this.#verdict(sure) === 'converges' ? sure : undefined",
    replace: "return this.#verdict(sure) !== 'stalls' ? sure : undefined",
    test: `${PLAN} -t where the curve does not tell`,
  },
  {
    name: 'a downtime has no room beside the least one',
    file: 'ts/prediction/plan/offers.ts',
    find: 'const roomy = Math.ceil(Math.max(least / ROOM, wanted.downtime * MS)) / MS',
    replace: 'const roomy = Math.ceil(Math.max(least, wanted.downtime * MS)) / MS',
    test: `${PLAN} -t no more downtime than it needs`,
  },
  {
    name: 'post-copy fetches nothing after its pass',
    file: 'ts/prediction/plan/offers.ts',
    find: 'return seconds + wanted.deviceState + (lastPages * pageBytes) / bytesPerSecond',
    replace: 'return seconds + wanted.deviceState + (0 * lastPages * pageBytes) / bytesPerSecond',
    test: `${PLAN} -t once more where it is dirty`,
  },
  {
    name: 'the names of domains are not quoted',
    file: 'ts/cli/plan/commands.ts',
    find: "[...virsh, ...words].map(shellWord).join(' ')",
    replace: "[...virsh, ...words.map(word => word)].join(' ')",
    test: `${COMMAND} -t whatever the names are`,
  },
  {
    name: 'a domain that is called like a number gets a command',
    file: 'ts/cli/plan/commands.ts',
    find: 'AMBIGUOUS.test(name)\n',
    replace: "name === ''\n",
    test: `${COMMAND} -t takes for another domain`,
  },
  {
    name: 'a curve of libvirt is called like its file',
    file: 'ts/cli/plan/domain.ts',
    find: "target.startsWith('libvirt:')",
    replace: "target.startsWith('libvirt::')",
    test: `${COMMAND} -t names of domains`,
  },
  {
    name: 'a curve that is too old is planned from',
    file: 'ts/cli/plan/prometheus/curves.ts',
    find: 'if (!(ageMs <= mostAgeMs)) {',
    replace: 'if (ageMs > mostAgeMs * 1e6) {',
    test: `${PROMETHEUS} -t old, missing or twice`,
  },
  {
    name: 'the figures of two servers of one VM are mixed',
    file: 'ts/cli/plan/prometheus/curves.ts',
    find: 'if (known.outer !== outer) {',
    replace: "if (known.outer === '') {",
    test: `${PROMETHEUS} -t old, missing or twice`,
  },
  {
    name: 'the pages of a curve are those of its rate',
    file: 'ts/metrics/target-series.ts',
    find: 'product(point.pages, curve.pageSize)',
    replace: 'product(undefined, curve.pageSize)',
    test: `${CURVES} -t come back`,
  },
  {
    name: 'a host that ends with figures missing ends well',
    file: 'ts/cli/plan/prometheus/run.ts',
    find: 'unplanned.length === 0)',
    replace: 'unplanned.length >= 0)',
    test: `${PROMETHEUS} -t old, missing or twice`,
  },
  {
    name: 'several migrations wait for the whole link beside each other',
    file: 'ts/prediction/plan/packing.ts',
    find: 'width >= demanding.length - at',
    replace: 'width >= 1 + 0 * at',
    test: `${STAGES} -t each is there once`,
  },
]
