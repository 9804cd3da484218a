// Breaks of `audit`: what it reads, and what it compares.

export default [
  {
    name: 'the reader of an audit reads pages that are not there',
    file: 'ts/cli/audit/memory-reader.ts',
    find: '(byte & PRESENT) === 0',
    replace: 'false',
    test: '__test__/cli/audit/audit.test.ts -t maps nothing',
  },
  {
    name: 'an audit compares medians of different rounds',
    file: 'ts/cli/audit/looks.ts',
    find: 'rate / (over.bytesPerSecond[round] ?? 0)',
    replace: 'rate / median(over.bytesPerSecond)',
    test: '__test__/cli/audit/looks.test.ts',
  },
]
