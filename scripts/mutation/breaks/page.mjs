// Breaks of the page of `serve`: what it draws.

const FIGURES = '__test__/page/figures.test.ts'
const STATE = '__test__/page/state.test.ts'

export default [
  {
    name: 'one page has the colour of none',
    file: 'page/heat/scale.ts',
    find: 'return 1 + Math.round(Math.min(Math.max(part, 0), 1) * (TOP - 1))',
    replace: 'return Math.round(Math.min(Math.max(part, 0), 1) * TOP)',
    test: `${FIGURES} -t has a level of its own`,
  },
  {
    name: 'an incomplete window looks complete on the heat map',
    file: 'page/heat/draw.ts',
    find: 'if (columns[at]?.complete === false)',
    replace: 'if (columns[at] === undefined)',
    test: `${FIGURES} -t an incomplete window is marked`,
  },
  {
    name: 'the heat map shows addresses without memory',
    file: 'page/heat/axis.ts',
    find: 'Math.max((block.guestAddress ?? 0) - end, 0)',
    replace: 'Math.max(0 - end, 0)',
    test: `${FIGURES} -t names round addresses`,
  },
  {
    name: 'the line of the link crosses the curve elsewhere',
    file: 'page/charts/curve-points.ts',
    find: 'const part = room(before) / (room(before) - room(after))',
    replace: 'const part = 0.5',
    test: `${FIGURES} -t crosses where both have the same bytes`,
  },
  {
    name: 'an old dirty rate looks like one of now',
    file: 'page/state/usual.ts',
    find: "age <= NOW_MS ? 'now' : 'earlier'",
    replace: "'now'",
    test: `${STATE} -t an old figure`,
  },
  {
    name: 'a VM is never overdue',
    file: 'page/state/usual.ts',
    find: 'age > Math.max(GAP_FACTOR * distance, ALIVE_MS)',
    replace: 'age > Number.POSITIVE_INFINITY',
    test: `${STATE} -t an old figure`,
  },
  {
    name: 'a recording looks like a VM that runs',
    file: 'page/views/vm-status.ts',
    find: "if (sight === 'recording')",
    replace: 'if (last.at < 0)',
    test: `${STATE} -t without a server`,
  },
]
