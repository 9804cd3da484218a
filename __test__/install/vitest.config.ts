import type { ViteUserConfig } from 'vitest/config'
import { defineConfig } from 'vitest/config'

/**
 * The tests of the packed package: `npm run test:install` runs them, for it makes what they need.
 */
const config: ViteUserConfig = defineConfig({
  test: {
    include: ['__test__/install/**/*.test.ts'],
    pool: 'forks',
    // The guests that they measure take the whole of a core each.
    maxWorkers: 1,
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // CI tries a failed test once more: docs/decisions/second-try-in-ci.md.
    retry: Number(process.env.DIRTYRATE_TEST_RETRY ?? 0),
  },
})

export default config
