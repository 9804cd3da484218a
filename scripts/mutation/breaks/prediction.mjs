// Breaks of the prediction: the rules of a pass, what is left without an end, bounds, the input.

const AGREES = '__test__/prediction/agreement.test.ts'
const PROPERTIES = '__test__/prediction/properties.test.ts'
const MODEL = '__test__/prediction/model.test.ts'
const PUBLISHED = '__test__/prediction/published.test.ts'

export default [
  {
    name: 'QEMU protects all chunks again at the start of a pass',
    file: 'ts/prediction/precopy.ts',
    find: 'clearsAtStart ? 0 : seconds',
    replace: '0',
    test: `${AGREES} -t curve of each region`,
  },
  {
    name: 'a pass leaves nothing to the next one',
    file: 'ts/prediction/scenarios.ts',
    find: 'Math.max(thresholdPages - (pagesPerSecond * looks) / 2, 0)',
    replace: '0',
    test: `${MODEL} -t QEMU ends`,
  },
  {
    name: 'what is left is what a whole round dirties',
    file: 'ts/prediction/convergence.ts',
    find: 'return (total.area(round) - total.area(early) + early * total.at(round)) / round',
    replace: 'return total.at(round)',
    test: `${MODEL} -t random writes leave`,
  },
  {
    name: 'no guest sweeps',
    file: 'ts/prediction/sweeping.ts',
    find: 'const isOutside = confidence >= 1 || there < low || there > high',
    replace: 'const isOutside = false',
    test: `${MODEL} -t knows a sweep`,
  },
  {
    name: 'pages of zeros cost nothing',
    file: 'ts/prediction/scenarios.ts',
    find: 'return zeros * this.wanted.profile.zeroPageBytes',
    replace: 'return zeros * 0',
    test: PUBLISHED,
  },
  {
    name: 'QEMU knows of pages of zeros before it comes to them',
    file: 'ts/prediction/scenarios.ts',
    find: "countsZeros: profile.passEnds === 'threshold',",
    replace: 'countsZeros: false,',
    test: `${MODEL} -t as soon as few enough`,
  },
  {
    name: 'QEMU takes no time to find pages of zeros',
    file: 'ts/prediction/scenarios.ts',
    find: 'zeroPageNs / NS_PER_SECOND',
    replace: '0',
    test: `${MODEL} -t looks at each page`,
  },
  {
    name: 'the last step sends its pages of zeros at no cost',
    file: 'ts/prediction/figures.ts',
    find: 'lastZeros: Math.max(...played.map(({ lastZeros }) => lastZeros)),',
    replace: 'lastZeros: 0,',
    test: `${MODEL} -t also in the bounds`,
  },
  {
    name: 'a guest that is stopped at once may be copied in no time',
    file: 'ts/prediction/scenarios.ts',
    find: '...(value.passes > 0 ? { leastSeconds: value.seconds } : {})',
    replace: 'leastSeconds: value.seconds',
    test: '__test__/prediction/properties.test.ts -t needs on the link',
  },
  {
    name: 'a Gbit of the published table is 10^9 bits',
    file: 'ts/prediction/options.ts',
    find: 'rate * (BINARY[unit] ?? 1)',
    replace: 'rate',
    test: PUBLISHED,
  },
  {
    name: 'a migration that converges may have no time',
    file: 'ts/prediction/scenarios.ts',
    find: "if (played.converged || threshold < this.leftAt('high', bytesPerSecond)) return played",
    replace: 'if (played.passes >= 0) return played',
    test: '__test__/prediction/agreement.test.ts -t each region',
  },
  {
    name: 'points may be in any order',
    file: 'ts/prediction/curve-input.ts',
    find: 'if (before !== undefined && seconds <= before) {',
    replace: 'if (before !== undefined && seconds < 0) {',
    test: `${PROPERTIES} -t unsorted`,
  },
  {
    name: 'a number that is not a number is in every range',
    file: 'ts/prediction/checks.ts',
    find: "typeof value === 'number' && value >= low && value <= high",
    replace: "typeof value === 'number' && !(value < low) && !(value > high)",
    test: `${PROPERTIES} -t NaN`,
  },
  {
    name: 'the smallest writers are limited first',
    file: 'ts/prediction/ways-out.ts',
    find: 'b.bytesPerSecond - a.bytesPerSecond',
    replace: 'a.bytesPerSecond - b.bytesPerSecond',
    test: `${PROPERTIES} -t largest writers`,
  },
  {
    name: 'a stall ends with status 11',
    file: 'ts/cli/predict.ts',
    find: '  stalls: EXIT_STALLS,',
    replace: '  stalls: EXIT_UNCERTAIN,',
    test: '__test__/cli/predict.test.ts -t with --exit-code',
  },
  {
    name: 'count channels for the most probable ratio',
    file: 'ts/prediction/ways-out.ts',
    find: 'Math.ceil(bytesPerSecond / ratio.low / perChannel)',
    replace: 'Math.ceil(bytesPerSecond / ratio.value / perChannel)',
    test: '__test__/prediction/compression.test.ts -t channels',
  },
  {
    name: 'send compressed pages no faster than others',
    file: 'ts/prediction/ways-out.ts',
    find: 'bytesPerSecond: wanted.bytesPerSecond / part,',
    replace: 'bytesPerSecond: wanted.bytesPerSecond,',
    test: '__test__/prediction/compression.test.ts -t divided by the ratio',
  },
  {
    name: 'let granules stop at the last window',
    file: 'ts/prediction/snapshot.ts',
    find: 'granules: new Growth([...granules, ...tail]),',
    replace: 'granules: new Growth(granules),',
    test: '__test__/prediction/snapshot.test.ts -t behind the last window',
  },
]
