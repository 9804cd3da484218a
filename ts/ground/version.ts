/** The version of this package, for code that may run where its package.json is not: bundled into something else. */

export const version = '0.1.0'
